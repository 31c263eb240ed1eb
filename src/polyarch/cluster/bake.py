"""Many builds on a cluster: each begins when those that it's built on have ended, and gets their images by digest."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial

from polyarch.builders.values import BuilderNode
from polyarch.cluster.build import Session, open_session
from polyarch.dockerfile.lowering.named import TARGET_SCHEME
from polyarch.engine.engine import Engine
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.bake import links_of, ordered
from polyarch.pipeline.nodes import is_pushed
from polyarch.progress import CancelToken, Sink
from polyarch.record import replace
from polyarch.request.baked import BakeResult
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType
from polyarch.threads import side_by_side

__all__ = ["bake_on_cluster"]

_AT_ONCE = 64
"""Builds that are followed at the same time; how many run is for the workers to say."""


def bake_on_cluster(
    engine: Engine,
    node: BuilderNode,
    requests: Mapping[str, BuildRequest],
    *,
    sink: Callable[[str], Sink],
    cancel: CancelToken,
    keeps_going: bool = False,
) -> BakeResult:
    """Carry out all requests, by name; `sink` gives where each tells of what it does.

    The first failure ends all others, unless this `keeps_going` with those that don't depend on it. Raises Cancelled, and
    InputError for a request that names one that isn't there, or needs itself, or where images can't go from one worker to another.
    """
    names = ordered(requests)
    needed = {each for request in requests.values() for each in links_of(request)}
    with open_session(engine, node) as session:
        homeless = sorted(name for name in needed if not _pushed_name(requests[name]))
        if homeless and session.cluster.transfer is None:
            raise InputError(
                f"other targets are built on {', '.join(homeless)}, which isn't pushed: their workers can't get its image",
                hint="push it, or name a repository for such: "
                "polyarch create --driver dask --driver-opt transfer=REPOSITORY",
            )
        baking = _Baking(session, requests, needed, keeps_going=keeps_going)
        baking.run(names, sink, cancel)
    return BakeResult(
        results={name: baking.results[name] for name in names if name in baking.results},
        errors={name: baking.errors[name] for name in names if name in baking.errors},
    )


class _Baking:
    """All builds of a bake, and how far they are."""

    def __init__(
        self,
        session: Session,
        requests: Mapping[str, BuildRequest],
        needed: set[str],
        *,
        keeps_going: bool,
    ) -> None:
        self.results: dict[str, BuildResult] = {}
        self.errors: dict[str, PolyarchError] = {}
        self._session = session
        self._requests = requests
        self._needed = needed
        self._keeps_going = keeps_going
        self._ended: set[str] = set()
        self._changed = threading.Condition()

    def run(self, names: list[str], sink: Callable[[str], Sink], cancel: CancelToken) -> None:
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
                request = self._linked(name, self._requests[name])
                self.results[name] = self._session.build(request, sink=sink, cancel=cancel)
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

    def _linked(self, name: str, request: BuildRequest) -> BuildRequest:
        """Return a request with images in the place of the targets that it's built on; one that others need is pushed."""
        contexts = {
            key: self._image(value.removeprefix(TARGET_SCHEME))
            if value.startswith(TARGET_SCHEME)
            else value
            for key, value in request.build_contexts.items()
        }
        outputs = request.outputs
        if name in self._needed and not _pushed_name(request):
            pushed = {"name": str(self._transferred(name)), "push": "true"}
            outputs = (*outputs, Output(type=OutputType.IMAGE, attributes=pushed))
        return replace(request, build_contexts=contexts, outputs=outputs)

    def _transferred(self, name: str) -> Reference:
        """Return what a target's image is called that is pushed only for those that are built on it: the next time the same."""
        assert self._session.cluster.transfer is not None
        told = f"{os.uname().nodename}:{os.getcwd()}:{name}"
        tag = f"target-{hashlib.sha256(told.encode()).hexdigest()[:32]}"
        return replace(self._session.cluster.transfer, tag=tag, digest=None)

    def _image(self, name: str) -> str:
        """Return the image of a target that was built, as a named context."""
        pushed = _pushed_name(self._requests[name])
        reference = parse_reference(pushed) if pushed else self._transferred(name)
        return f"docker-image://{replace(reference, tag=None, digest=self.results[name].digest)}"


def _pushed_name(request: BuildRequest) -> str:
    """Return a name that a request is pushed under, "" if there is none."""
    for output in request.outputs:
        if is_pushed(output) and (name := output.attributes.get("name", "").partition(",")[0]):
            return name
    return ""
