"""Many builds as one: each in a thread of its own, all of their graphs in one solve (`polyarch.engine.together`).

A build may start from the result of another one, by a named context `target:NAME`: it then goes on from the vertex that
the other one ends with, so nothing is exported and imported between the two.
"""

from __future__ import annotations

import threading
from collections import ChainMap
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.named import TARGET_SCHEME, Linked
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Built, Part
from polyarch.engine.together import Seat, Together
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.graph.op import GitOp, HttpOp
from polyarch.pipeline.caching import without_lost
from polyarch.pipeline.company import Company, Meaning
from polyarch.pipeline.contexts import ContextTrees
from polyarch.pipeline.directories import Directories
from polyarch.pipeline.recorded import recorded_build
from polyarch.platforms import Platform, normalize
from polyarch.progress import CancelToken, Sink
from polyarch.request.baked import BakeResult
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest
from polyarch.threads import Once, caught
from polyarch.worker.image_resolver import ImageResolver
from polyarch.worker.reach import Reach
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from polyarch.pipeline.fetched import Fetched

__all__ = ["Builds", "bake_on", "links_of", "ordered"]


_EXPORTS = 8
"""Builds that bring their results somewhere at a time: each has connections and threads of its own for it."""


class _NotBuiltOn(PolyarchError):
    """A build that another one was to start from has failed."""


def links_of(request: BuildRequest) -> tuple[str, ...]:
    """Return the names of the builds that a request starts from or takes from."""
    found = request.build_contexts.values()
    return tuple(
        each.removeprefix(TARGET_SCHEME) for each in found if each.startswith(TARGET_SCHEME)
    )


def bake_on(
    engine: Engine,
    requests: Mapping[str, BuildRequest],
    *,
    sink: Callable[[str], Sink],
    cancel: CancelToken,
    keeps_going: bool = False,
) -> BakeResult:
    """Carry out all requests, by name, as one graph; `sink` gives where each tells of what it does.

    The first failure ends all others, unless this `keeps_going` with those that don't depend on it. Raises Cancelled, and
    InputError for a request that names one that isn't there, or needs itself.
    """
    names = ordered(requests)
    if len(names) == 1:
        (name,) = names
        try:
            return BakeResult(
                results={
                    name: recorded_build(engine, requests[name], sink=sink(name), cancel=cancel)
                }
            )
        except Cancelled:
            raise
        except PolyarchError as error:
            return BakeResult(errors={name: error})
    sinks = {name: sink(name) for name in names}
    reach = Reach()
    while True:
        own = CancelToken()
        unregister = cancel.on_cancel(own.cancel)
        try:
            builds = Builds(engine, requests, names, own, keeps_going=keeps_going, reach=reach)
            baked = builds.run(sinks.__getitem__)
        finally:
            unregister()
        cancel.check()
        lost = [
            without_lost(reach, error, sinks[name])
            for name, error in baked.errors.items()
            if error.blob
        ]
        if not any(lost):
            return baked


def ordered(requests: Mapping[str, BuildRequest]) -> list[str]:
    """Return the names, those that others build on before these. Raises InputError."""
    done: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise InputError(f"the build of {name} needs itself: {' -> '.join((*path, name))}")
        if name not in requests:
            raise InputError(f"there is no target {name}, which {path[-1]} is built on")
        for other in links_of(requests[name]):
            if other not in done:
                visit(other, (*path, name))
        done[name] = None

    for name in requests:
        if name not in done:
            visit(name, ())
    return list(done)


class _Fetch(Once["Fetched | None"]):
    """A context that is fetched by the first who wants it; `place` names it."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place


class Builds:
    """All builds of one bake, and what they have in common."""

    def __init__(
        self,
        engine: Engine,
        requests: Mapping[str, BuildRequest],
        names: Sequence[str],
        cancel: CancelToken,
        *,
        keeps_going: bool,
        reach: Reach | None = None,
    ) -> None:
        self.engine = engine
        self.reach = reach or Reach()
        self.requests = requests
        self.cancel = cancel
        self.keeps_going = keeps_going
        self.directories = Directories(engine.store.stat_index)
        self.together = Together(engine, cancel, keeps_going=keeps_going)
        linked = {other for request in requests.values() for other in links_of(request)}
        self.beside = {
            name: _Beside(self, name, self.together.add(stays=name in linked)) for name in names
        }
        self.results: dict[str, BuildResult] = {}
        self.errors: dict[str, PolyarchError] = {}
        self.exports = threading.Semaphore(_EXPORTS)
        self._fetches: dict[Hashable, _Fetch] = {}
        self._resolvers: dict[bool, ImageResolver] = {}
        self._bugs: list[BaseException] = []
        self._meanings: dict[str, Meaning] = {}
        self._changed = threading.Condition()

    def run(self, sink: Callable[[str], Sink]) -> BakeResult:
        """Carry out all. Raises what is nobody's fault but ours."""
        unregister = self.cancel.on_cancel(self._wake)
        threads = [
            threading.Thread(target=self._build, args=(name, sink(name)), name=f"bake-{name}")
            for name in self.beside
        ]
        try:
            for thread in threads:
                thread.start()
            error = caught(self.together.run)
            if error is not None and not isinstance(error, PolyarchError):
                self._bugs.append(error)
                self.cancel.cancel()
        except BaseException:
            self.cancel.cancel()
            raise
        finally:
            for thread in threads:
                thread.join()
            unregister()
        self.directories.save()
        if self._bugs:
            raise self._bugs[0]
        results = {name: self.results[name] for name in self.beside if name in self.results}
        return BakeResult(results=results, errors=self._own_errors())

    def _own_errors(self) -> dict[str, PolyarchError]:
        """Return the errors of those builds that don't just depend on others that failed."""
        failed: set[str] = set()
        found: dict[str, PolyarchError] = {}
        for name in self.beside:
            error = self.errors.get(name)
            if error is None:
                continue
            others = [each for each in links_of(self.requests[name]) if each in failed]
            is_theirs = any(self.errors.get(each) is error for each in others)
            failed.add(name)
            if not is_theirs and not isinstance(error, _NotBuiltOn):
                found[name] = error
        return found

    def _build(self, name: str, sink: Sink) -> None:
        beside = self.beside[name]

        def build() -> None:
            self.results[name] = recorded_build(
                self.engine, self.requests[name], sink=sink, cancel=self.cancel, company=beside
            )

        error = caught(build)
        with self._changed:
            if isinstance(error, PolyarchError):
                if self._counts(error):
                    self.errors[name] = error
            elif error is not None:
                self._bugs.append(error)
            self._changed.notify_all()
        # One that is ended isn't the first: what has failed comes along yet.
        is_first = isinstance(error, PolyarchError) and not isinstance(error, Cancelled)
        if (is_first and not self.keeps_going) or self._bugs:
            self.cancel.cancel()
        self.together.leave(beside.seat)

    def _counts(self, error: PolyarchError) -> bool:
        """Tell whether to tell of an error: not of what comes of being ended because of another one."""
        is_known = any(each is error for each in self.errors.values())
        return not isinstance(error, Cancelled) and (is_known or not self.cancel.cancelled)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def resolver(self, images: ImageSource, *, pull: bool) -> ImageResolver:
        """Return what resolves the names of base images, each once for all builds."""
        with self._changed:
            found = self._resolvers.get(pull)
            if found is None:
                found = self._resolvers[pull] = images.resolver(self.cancel, pull=pull)
            return found

    def fetch(self, key: Hashable) -> _Fetch:
        """Return the one fetching of what `key` stands for."""
        with self._changed:
            return self._fetches.setdefault(key, _Fetch(f"fetched-{len(self._fetches)}"))

    def understood(self, name: str, meaning: Meaning) -> None:
        """Take what a build means."""
        with self._changed:
            self._meanings[name] = meaning
            self._changed.notify_all()

    def share_pins(self, part: Part) -> None:
        """Note what files and commits of a part turned out to be that another build has fetched."""
        own = part.sources.remote.pins
        with self._changed:
            others = [each.pins for each in self._meanings.values()]
        contexts = part.sources.contexts
        trees = contexts.fetched.values() if isinstance(contexts, ContextTrees) else ()
        for op in (*(each.op for each in part.graph.vertices()), *(each.source for each in trees)):
            if isinstance(op, GitOp | HttpOp) and op not in own:
                own.update((op, each[op]) for each in others if op in each)

    def meaning(self, name: str) -> Meaning:
        """Wait for what another build means. Raises Cancelled, or another error if that never comes."""
        with self._changed:
            self._changed.wait_for(
                lambda: name in self._meanings or name in self.errors or self.cancel.cancelled
            )
            self.cancel.check()
            if name not in self._meanings:
                raise _NotBuiltOn(f"target {name}, which this one is built on, has failed")
            return self._meanings[name]


class _Beside(Company):
    """One build among others."""

    has_others = True

    def __init__(self, builds: Builds, name: str, seat: Seat) -> None:
        self._name = name
        self.seat = seat
        self._builds = builds
        self.reach = builds.reach
        self._used: list[Meaning] = []

    @property
    def linked(self) -> Callable[[str, Platform], Linked] | None:
        """See Company."""
        return self._linked

    def _linked(self, name: str, platform: Platform) -> Linked:
        meaning = self._builds.meaning(name)
        self._used.append(meaning)
        found = _for_platform(name, meaning.lowered, platform)
        return Linked(vertex=found.vertex, config=found.config)

    def sink(self, sink: Sink) -> Sink:
        """See Company."""
        return self.seat.sink(sink)

    def directories(self, _engine: Engine, /) -> Directories:
        """See Company."""
        return self._builds.directories

    def fetched(self, key: Hashable, fetch: Callable[[], Fetched | None], /) -> Fetched | None:
        """See Company."""
        return self._builds.fetch(key).get(fetch)

    def place_of(self, key: Hashable, /) -> str:
        """See Company."""
        return self._builds.fetch(key).place

    def resolver(
        self, images: ImageSource, request: BuildRequest, _cancel: CancelToken, /
    ) -> ImageResolver:
        """See Company."""
        return self._builds.resolver(images, pull=request.pull)

    def understood(self, meaning: Meaning) -> Meaning:
        """See Company."""
        whole = Meaning(
            lowered=meaning.lowered,
            resolved=[*meaning.resolved, *(one for each in self._used for one in each.resolved)],
            pins=ChainMap(meaning.pins, *(each.pins for each in self._used)),
        )
        self._builds.understood(self._name, whole)
        return whole

    def solve(self, _engine: Engine, part: Part, _cancel: CancelToken, /) -> Built:
        """See Company."""
        built = self.seat.solve(part)
        self._builds.share_pins(part)
        return built

    def read(self, directories: Directories) -> None:
        """See Company: all builds remember them together."""

    def exporting(self) -> AbstractContextManager[object]:
        """See Company."""
        return self._builds.exports

    def kept(self) -> AbstractContextManager[None]:
        """See Company."""
        return self.seat.kept()


def _for_platform(name: str, lowered: Sequence[Lowered], platform: Platform) -> Lowered:
    """Return what a build means for a platform: one for a single platform is for all. Raises InputError."""
    if len(lowered) == 1:
        return lowered[0]
    wanted = normalize(platform)
    for each in lowered:
        if each.platform == wanted:
            return each
    there = ", ".join(str(each.platform) for each in lowered)
    raise InputError(
        f"target {name} isn't built for {wanted}",
        hint=f"it is built for {there}; add {wanted} to its platforms",
    )
