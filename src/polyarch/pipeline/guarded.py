"""A build's policies, from the moment when its main context is here: most builds have none, and load nothing for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.engine.engine import Engine
from polyarch.errors import InputError
from polyarch.graph.graph import Graph
from polyarch.graph.op import GitOp, HttpOp
from polyarch.inroot import read_small
from polyarch.pipeline.contexts import DEFAULT_NAME, MainContext, dockerfile_path
from polyarch.progress import CancelToken, Sink
from polyarch.record import field, mutable
from polyarch.request.values import BuildRequest, is_address
from polyarch.worker.image_resolver import ImageResolver
from polyarch.worker.remote import RemoteSources

if TYPE_CHECKING:
    from polyarch.dockerfile.lowering.lowering import BaseImages
    from polyarch.pipeline.policing import Guard
    from polyarch.policies.told import Source, Told, Wish

__all__ = ["Guarded", "has_policies", "may_have_policies"]

_SUFFIX = ".rego"
_VARIABLE = "BUILDX_DEFAULT_POLICY"
_WEB = ("http://", "https://")


def may_have_policies(request: BuildRequest, environ: Mapping[str, str]) -> bool:
    """Tell whether it is worth looking for policies: of a context that is elsewhere nobody knows yet."""
    if _are_off(request):
        return False
    return is_address(request.context) or has_policies(request, environ)


def has_policies(request: BuildRequest, environ: Mapping[str, str]) -> bool:
    """Tell whether a build has policies, as far as this machine knows."""
    if _are_off(request):
        return False
    if request.policies or environ.get(_VARIABLE):
        return True
    if is_address(request.context):
        return False
    if request.context == "-" or request.dockerfile == "-" or request.dockerfile.startswith(_WEB):
        return False
    return os.path.lexists(f"{dockerfile_path(Path(request.context), request)}{_SUFFIX}")


def _are_off(request: BuildRequest) -> bool:
    return [each.disabled for each in request.policies] == [True]


@mutable
class Guarded:
    """What keeps a build from taking what its policies don't allow."""

    engine: Engine
    request: BuildRequest
    remote: RemoteSources
    sink: Sink
    cancel: CancelToken
    guard: Guard | None = None
    _resolver: list[ImageResolver] = field(default_factory=list)

    def load(self, main: MainContext, *, asks: bool) -> None:
        """Load the policies, and ask them about the main context if this `asks`. Raises Denied, InputError, NotFound."""
        if self.engine.caller is not None:
            return  # who is far away has policies of their own, and is asked
        own = self._own(main)
        if not (own or self.request.policies or self.engine.environ.get(_VARIABLE)):
            return
        from polyarch.pipeline.policing import MainPlace, load_policies  # noqa: PLC0415 few builds have policies

        name, text = own or ("", None)
        root = main.directory or (main.fetched.tree.root if main.fetched is not None else None)
        place = MainPlace(root=root, own=name, text=text)
        guard = load_policies(self.request, place, self.sink, self.engine.environ)
        if guard:
            self.guard = guard
            if asks:
                self._check_main(main)

    def _own(self, main: MainContext) -> tuple[str, str | None] | None:
        """Return the name of the Dockerfile's policy, and its text where that is known; None if there is none."""
        given = self.request.dockerfile
        if given == "-" or given.startswith(_WEB):
            return None
        if main.fetched is not None:
            name = f"{main.fetched.dockerfile or given or DEFAULT_NAME}{_SUFFIX}"
            return (name, None) if main.fetched.has(name) else None
        if main.directory is None:
            return None
        path = Path(f"{dockerfile_path(main.directory, self.request)}{_SUFFIX}")
        if not os.path.lexists(path):
            return None
        from polyarch.policies.files import LARGEST  # noqa: PLC0415 few builds have policies

        try:
            text = read_small(path.name, LARGEST, "policy file", root=path.parent)
            return str(path), text.decode("utf-8", "replace")
        except OSError as error:
            raise InputError(f"failed to read policy file {path}: {error.strerror}") from error

    def _check_main(self, main: MainContext) -> None:
        from polyarch.pipeline.policing import address_source  # noqa: PLC0415
        from polyarch.policies.told import Source  # noqa: PLC0415

        assert self.guard is not None
        if main.fetched is not None and is_address(self.request.context):
            source = address_source(self.request.context)
            self.guard.require(source, self.find, main.fetched.source)
        elif main.directory is not None and self.request.dockerfile != "-":
            self.guard.require(Source(identifier="local://dockerfile"), self.find)

    def check(self, op: HttpOp | GitOp) -> None:
        """Raise Denied for what isn't to be fetched."""
        if self.guard is not None:
            from polyarch.pipeline.policing import source_of  # noqa: PLC0415

            self.guard.require(source_of(op), self.find, op)

    def check_graph(self, graph: Graph) -> None:
        """Raise Denied for a graph that takes something that isn't allowed."""
        if self.guard is not None:
            from polyarch.pipeline.policing import check_graph, unsupported_proxy  # noqa: PLC0415

            if self.guard.wants_proxy():
                raise unsupported_proxy()
            check_graph(graph, self.guard, self.find)

    def images(self, images: BaseImages) -> BaseImages:
        """Return what resolves those images alone that are allowed."""
        if self.guard is None:
            return images
        from polyarch.pipeline.policing import GuardedImages  # noqa: PLC0415

        return GuardedImages(images=images, guard=self.guard, find=self.find)

    def find(self, source: Source, wish: Wish, op: HttpOp | GitOp | None = None) -> Told:
        """Find out about a source. Raises NotFound, RemoteError, IntegrityError."""
        from polyarch.policies.finding import Finder  # noqa: PLC0415

        images = self.engine.images(self.sink)
        if not self._resolver:
            self._resolver.append(images.resolver(self.cancel, pull=self.request.pull))
        finder = Finder(
            resolver=self._resolver[0],
            places=images.places(self.cancel),
            remote=self.remote,
            blobs=self.engine.store.blobs,
            cancel=self.cancel,
        )
        return finder.find(source, wish, op)
