"""Many builds that other machines carry out: each by itself, as soon as those that it's built on have ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from polyarch.builders.values import SavedBuilder
from polyarch.digest import Digest
from polyarch.dockerfile.lowering.named import TARGET_SCHEME
from polyarch.engine.engine import Engine
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.oci.base import IMAGE_SCHEME
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.bake import links_of, ordered
from polyarch.pipeline.choosing import Nodes, Part
from polyarch.pipeline.linking import Links
from polyarch.pipeline.nodes import Building
from polyarch.progress import CancelToken, Sink
from polyarch.record import replace
from polyarch.request.baked import BakeResult
from polyarch.request.outputs import is_pushed
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest
from polyarch.threads import side_by_side

__all__ = ["Build", "bake_apart", "bake_on_nodes", "image_context", "linked", "pushed_name"]

_AT_ONCE = 64
"""Builds that are followed at the same time; how many run is for the other machines to say."""

Build = Callable[[str, Mapping[str, BuildResult], Sink, CancelToken], BuildResult]
"""Carries out a build by its name, with the results of those before it."""


def bake_apart(
    names: Sequence[str],
    requests: Mapping[str, BuildRequest],
    build: Build,
    *,
    sink: Callable[[str], Sink],
    cancel: CancelToken,
    keeps_going: bool = False,
) -> BakeResult:
    """Carry out all requests; `names` has those that others are built on before these.

    The first failure ends all others, unless this `keeps_going` with those that don't depend on it. Raises Cancelled.
    """
    return _Baking(requests, build, keeps_going=keeps_going).result(names, sink, cancel)


class _Baking:
    """All builds of a bake, and how far they are."""

    def __init__(
        self,
        requests: Mapping[str, BuildRequest],
        build: Build,
        *,
        keeps_going: bool,
        bases: Mapping[str, Sequence[str]] | None = None,
        places: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Take the builds; `bases` are those of each that it is linked to by the nodes of `places`."""
        self.results: dict[str, BuildResult] = {}
        self.errors: dict[str, PolyarchError] = {}
        self._requests = requests
        self._build = build
        self._keeps_going = keeps_going
        self._ended: set[str] = set()
        self._changed = threading.Condition()
        self._places = places or {}
        self.links = Links(bases or {}, self._wake)

    def result(
        self, names: Sequence[str], sink: Callable[[str], Sink], cancel: CancelToken
    ) -> BakeResult:
        """Carry out all of them, and tell what came of it. Raises Cancelled."""
        self._run(names, sink, cancel)
        return BakeResult(
            results={name: self.results[name] for name in names if name in self.results},
            errors={name: self.errors[name] for name in names if name in self.errors},
        )

    def _run(self, names: Sequence[str], sink: Callable[[str], Sink], cancel: CancelToken) -> None:
        own = CancelToken()
        forget = cancel.on_cancel(own.cancel)
        forget_waiting = own.on_cancel(self._wake)
        try:
            # In this order, whatever one waits for was begun before it.
            tasks = [partial(self._one, name, sink(name), own) for name in names]
            # Those that are linked wait for one another.
            at_once = max(_AT_ONCE, len(tasks)) if self._places else _AT_ONCE
            side_by_side(tasks, at_once, name="target", on_failure=own.cancel)
        finally:
            forget_waiting()
            forget()
        cancel.check()

    def _one(self, name: str, sink: Sink, cancel: CancelToken) -> None:
        try:
            if self._may_begin(name, cancel):
                self.results[name] = self._build(name, self.results, sink, cancel)
        except Cancelled:
            pass  # said by whoever cancelled it
        except PolyarchError as error:
            self.errors[name] = error
            if not self._keeps_going:
                cancel.cancel()
        finally:
            with self._changed:
                self._ended.add(name)
                self._changed.notify_all()
            self.links.end(name)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _may_begin(self, name: str, cancel: CancelToken) -> bool:
        """Wait for what a build is built on; tell whether all of that is there."""
        wanted = set(links_of(self._requests[name]))
        with self._changed:
            while not all(each in self._ended or self._is_there(name, each) for each in wanted):
                cancel.check()
                self._changed.wait()
        cancel.check()
        return all(each in self.results or self._is_there(name, each) for each in wanted)

    def _is_there(self, name: str, base: str) -> bool:
        """Tell whether what a build is linked to has come so far that it may begin."""
        is_linked = self.links.is_linked(name, base) and base not in self.errors
        return is_linked and self.links.is_there(base, self._places[name])


# --- targets that others are built on ---


def linked(request: BuildRequest, image: Callable[[str], str]) -> BuildRequest:
    """Return a request with images in the place of the targets that it's built on; `image` gives that of a target."""
    contexts = {
        name: image(value.removeprefix(TARGET_SCHEME)) if value.startswith(TARGET_SCHEME) else value
        for name, value in request.build_contexts.items()
    }
    return replace(request, build_contexts=contexts)


def image_context(reference: Reference, digest: Digest) -> str:
    """Return a named context that is an image by its digest."""
    return f"{IMAGE_SCHEME}{replace(reference, tag=None, digest=digest)}"


def pushed_name(request: BuildRequest) -> str:
    """Return a name that a request is pushed under, "" if there is none."""
    for output in request.outputs:
        if is_pushed(output) and (name := output.attributes.get("name", "").partition(",")[0]):
            return name
    return ""


def bake_on_nodes(
    engine: Engine,
    requests: Mapping[str, BuildRequest],
    *,
    builder: SavedBuilder,
    sink: Callable[[str], Sink],
    cancel: CancelToken,
    keeps_going: bool = False,
) -> BakeResult:
    """Carry out all requests on a builder's daemons, each by itself, as `bake_apart`.

    What others are built on is handed on by the daemon that has it, and to other nodes from where it's pushed. Raises
    InputError for what isn't pushed then.
    """
    names = ordered(requests)
    # The key is docker buildx's, so that caches are found.
    nodes = Nodes.look_at(engine, builder, requests.values(), os.curdir, sink(names[0]), cancel)
    parts = {name: nodes.parts(request) for name, request in requests.items()}
    bases = {name: _linked_bases(name, requests, parts, nodes) for name in names}

    def build(
        name: str, done: Mapping[str, BuildResult], own: Sink, token: CancelToken
    ) -> BuildResult:
        def image(base: str) -> str:
            if base in bases[name]:
                return f"{TARGET_SCHEME}{base}"
            reference = parse_reference(pushed_name(requests[base]))
            return image_context(reference, done[base].digest)

        building = Building(
            engine=engine,
            nodes=nodes,
            sink=own,
            cancel=token,
            steer=lambda part: baking.links.steer(part.node.name, name),
        )
        return building.whole(parts[name], linked(requests[name], image))

    places = {name: [part.node.name for part in found] for name, found in parts.items()}
    baking = _Baking(requests, build, keeps_going=keeps_going, bases=bases, places=places)
    return baking.result(names, sink, cancel)


def _linked_bases(
    name: str,
    requests: Mapping[str, BuildRequest],
    parts: Mapping[str, Sequence[Part]],
    nodes: Nodes,
) -> tuple[str, ...]:
    """Return what a target is built on that all of its nodes have. Raises InputError for what they can't get otherwise."""
    found = []
    for base in dict.fromkeys(links_of(requests[name])):
        there = {part.node.name for part in parts[base] if nodes.is_one_daemon(part.node)}
        if {part.node.name for part in parts[name]} <= there:
            found.append(base)
        elif not pushed_name(requests[base]):
            raise InputError(
                f"{name} is built on {base}, which isn't pushed and needn't be built by the same daemon",
                hint="push it, or bake on this machine: --builder default",
            )
    return tuple(found)
