"""Many builds that other machines carry out: each by itself, as soon as those that it's built on have ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from polyarch.builders.values import SavedBuilder
from polyarch.digest import Digest
from polyarch.dockerfile.lowering.named import TARGET_SCHEME
from polyarch.engine.engine import Engine
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.bake import links_of, ordered
from polyarch.pipeline.nodes import build_on_nodes, is_pushed
from polyarch.progress import CancelToken, Sink
from polyarch.record import replace
from polyarch.request.baked import BakeResult
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
    baking = _Baking(requests, build, keeps_going=keeps_going)
    baking.run(names, sink, cancel)
    return BakeResult(
        results={name: baking.results[name] for name in names if name in baking.results},
        errors={name: baking.errors[name] for name in names if name in baking.errors},
    )


class _Baking:
    """All builds of a bake, and how far they are."""

    def __init__(
        self, requests: Mapping[str, BuildRequest], build: Build, *, keeps_going: bool
    ) -> None:
        self.results: dict[str, BuildResult] = {}
        self.errors: dict[str, PolyarchError] = {}
        self._requests = requests
        self._build = build
        self._keeps_going = keeps_going
        self._ended: set[str] = set()
        self._changed = threading.Condition()

    def run(self, names: Sequence[str], sink: Callable[[str], Sink], cancel: CancelToken) -> None:
        """Carry out all of them. Raises Cancelled."""
        own = CancelToken()
        forget = cancel.on_cancel(own.cancel)
        forget_waiting = own.on_cancel(self._wake)
        try:
            # In this order, whatever one waits for was begun before it.
            tasks = [partial(self._one, name, sink(name), own) for name in names]
            side_by_side(tasks, _AT_ONCE, name="target", on_failure=own.cancel)
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

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _may_begin(self, name: str, cancel: CancelToken) -> bool:
        """Wait for what a build is built on; tell whether all of that is there."""
        wanted = set(links_of(self._requests[name]))
        with self._changed:
            while not wanted <= self._ended:
                cancel.check()
                self._changed.wait()
        cancel.check()
        return wanted <= self.results.keys()


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
    return f"docker-image://{replace(reference, tag=None, digest=digest)}"


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

    Raises InputError for a target that others are built on, and which isn't pushed: daemons get its image from there.
    """
    names = ordered(requests)
    for name in dict.fromkeys(each for request in requests.values() for each in links_of(request)):
        if not pushed_name(requests[name]):
            raise InputError(
                f"other targets are built on {name}, which isn't pushed: daemons can't get its image",
                hint="push it, or bake on this machine: --builder default",
            )

    def build(
        name: str, done: Mapping[str, BuildResult], own: Sink, token: CancelToken
    ) -> BuildResult:
        def image(base: str) -> str:
            reference = parse_reference(pushed_name(requests[base]))
            return image_context(reference, done[base].digest)

        request = linked(requests[name], image)
        # The key is docker buildx's, so that caches are found.
        return build_on_nodes(engine, builder, request, sink=own, cancel=token, key=".")

    return bake_apart(names, requests, build, sink=sink, cancel=cancel, keeps_going=keeps_going)
