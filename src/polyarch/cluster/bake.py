"""Many builds on a cluster: each begins when those that it's built on have ended, and gets their images by digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping

from polyarch.builders.values import BuilderNode
from polyarch.cluster.build import Session, open_session
from polyarch.engine.engine import Engine
from polyarch.errors import InputError
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.pipeline.apart import bake_apart, image_context, linked, pushed_name
from polyarch.pipeline.bake import links_of, ordered
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.request.baked import BakeResult
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType

__all__ = ["bake_on_cluster"]


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
        homeless = sorted(name for name in needed if not pushed_name(requests[name]))
        if homeless and session.cluster.transfer is None:
            raise InputError(
                f"other targets are built on {', '.join(homeless)}, which isn't pushed: their workers can't get its image",
                hint="push it, or name a repository for such: "
                "polyarch create --driver dask --driver-opt transfer=REPOSITORY",
            )
        linking = _Linking(session=session, requests=requests, needed=needed)
        return bake_apart(
            names, requests, linking.build, sink=sink, cancel=cancel, keeps_going=keeps_going
        )


@frozen
class _Linking:
    """Builds of a bake, which get images in the place of the targets that they're built on."""

    session: Session
    requests: Mapping[str, BuildRequest]
    needed: set[str]

    def build(
        self, name: str, done: Mapping[str, BuildResult], sink: Sink, cancel: CancelToken
    ) -> BuildResult:
        """Carry out one of them. Raises what builds raise."""
        request = self._linked(name, done)
        return self.session.build(request, sink=sink, cancel=cancel)

    def _linked(self, name: str, done: Mapping[str, BuildResult]) -> BuildRequest:
        """Return a request with images in the place of the targets that it's built on; one that others need is pushed."""
        request = linked(self.requests[name], lambda base: self._image(base, done))
        outputs = request.outputs
        if name in self.needed and not pushed_name(request):
            pushed = {"name": str(self._transferred(name)), "push": "true"}
            outputs = (*outputs, Output(type=OutputType.IMAGE, attributes=pushed))
        return replace(request, outputs=outputs)

    def _transferred(self, name: str) -> Reference:
        """Return what a target's image is called that is pushed only for those that are built on it: the next time the same."""
        assert self.session.cluster.transfer is not None
        told = f"{os.uname().nodename}:{os.getcwd()}:{name}"
        tag = f"target-{hashlib.sha256(told.encode()).hexdigest()[:32]}"
        return replace(self.session.cluster.transfer, tag=tag, digest=None)

    def _image(self, name: str, done: Mapping[str, BuildResult]) -> str:
        """Return the image of a target that was built, as a named context."""
        pushed = pushed_name(self.requests[name])
        reference = parse_reference(pushed) if pushed else self._transferred(name)
        return image_context(reference, done[name].digest)
