"""The Dockerfile of a daemon's build, read here: the daemon gets its graph as LLB, and asks no frontend of its own.

So an old daemon builds what its own frontend doesn't know of, none has to fetch a frontend from anywhere, and base images
and remote contexts are found as for builds of this machine: by its settings, mirrors and credentials.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from polyarch.buildkit.files import Directory
from polyarch.buildkit.gateway import Gateway, Ref, Solved, solved_of
from polyarch.buildkit.llb.definition import write_definition
from polyarch.buildkit.llb.sources import Offer
from polyarch.buildkit.work import Asked
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.engine.engine import Engine
from polyarch.errors import InputError
from polyarch.golang.json import compact
from polyarch.graph.graph import Graph, GraphMaker, walk
from polyarch.graph.op import ExecOp, FileOp, GitOp, ImageOp, MergeOp
from polyarch.graph.reads import context_reads
from polyarch.graph.vertex import Vertex
from polyarch.images.layout import Layout, open_layout, parse_layout
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.config import ImageConfig
from polyarch.pipeline.contexts import MAIN_NAME, Contexts, dockerfile_path, ignore_patterns
from polyarch.pipeline.meaning import read_dockerfile
from polyarch.pipeline.reading import Reading, lower_options, open_reading
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink
from polyarch.record import field, frozen, replace
from polyarch.request.values import BuildRequest

__all__ = ["OwnFrontend", "is_read_here", "own_frontend"]

_VARIABLE = "POLYARCH_FRONTEND"
_HERE, _BUILDER = "here", "builder"
_CONFIG, _BASE_CONFIG = "containerimage.config", "containerimage.base.config"
_PLATFORMS, _EPOCH = "refs.platforms", "source.date.epoch"


def is_read_here(environ: Mapping[str, str]) -> bool:
    """Tell whether Dockerfiles of daemons' builds are read on this machine. Raises InputError."""
    value = environ.get(_VARIABLE, "") or _BUILDER
    if value not in {_HERE, _BUILDER}:
        raise InputError(
            f"invalid {_VARIABLE}={value}",
            hint=f"{_HERE} reads Dockerfiles on this machine, {_BUILDER} has the builder read them",
        )
    return value == _HERE


@contextmanager
def own_frontend(
    engine: Engine,
    request: BuildRequest,
    build_platform: Platform,
    sink: Sink,
    cancel: CancelToken,
) -> Iterator[OwnFrontend]:
    """Have a request's Dockerfile read here; `build_platform` is the daemon's own. Raises as reading it."""
    with open_reading(engine, request, sink, cancel) as reading:
        yield OwnFrontend(
            engine=engine, reading=reading, build_platform=build_platform, cancel=cancel
        )


@frozen
class OwnFrontend:
    """What a daemon is given in the place of a frontend: graphs, and what they read of this machine.

    `found` are the directories, and `layouts` stores of content by their IDs; both are known once the Dockerfile has been
    read.
    """

    engine: Engine
    reading: Reading
    build_platform: Platform
    cancel: CancelToken
    found: dict[str, Directory] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)

    def directories(self) -> Mapping[str, Directory]:
        """Return the directories that the daemon may read."""
        return self.found

    def attributes(self) -> Mapping[str, str]:
        """Return what a frontend of the daemon's would have to know: there is none."""
        return {}

    async def steer(self, gateway: Gateway, _asked: Asked) -> Solved:
        """Read the Dockerfile, and have the daemon know its graphs; nothing is built yet. Raises as reading it."""
        known = await gateway.known()
        lowered, definitions = await asyncio.to_thread(self._written, known)
        refs = [await gateway.build(each) for each in definitions]
        return _solved(lowered, refs)

    def _written(self, known: Collection[str]) -> tuple[Sequence[Lowered], list[bytes]]:
        """Return what the Dockerfile means for each platform, and the graphs as a daemon takes it that knows `known`."""
        reading, request = self.reading, self.reading.request
        platforms = request.platforms or (self.build_platform,)
        options = replace(
            lower_options(request, platforms, self.engine.environ),
            build_platform=self.build_platform,
            grant_devices=None,  # the daemon's are meant
        )
        images = self.engine.images(reading.sink).resolver(self.cancel, pull=request.pull)
        read = read_dockerfile(reading, platforms, options, images, GraphMaker())
        offer = self._offer(read.contexts, [each.vertex for each in read.lowered])
        return read.lowered, [
            write_definition(each.vertex, offer=offer, known=known) for each in read.lowered
        ]

    def _offer(self, contexts: Contexts, targets: Sequence[Vertex]) -> Offer:
        """Open what the graphs read of this machine; contexts that are elsewhere are fetched now."""
        graph = Graph(targets=tuple(targets))
        reads = {name: _paths(read.paths) for name, read in sorted(context_reads(graph).items())}
        trees = {name: contexts.trees[name] for name in reads}
        commits = _commits(contexts)
        self.found.update({
            name: Directory(tree.root) for name, tree in trees.items() if name not in commits
        })  # fmt: skip
        layouts = {
            vertex.op.reference
            for vertex in walk(targets)
            if isinstance(vertex.op, ImageOp) and vertex.op.reference.startswith(LAYOUT_SCHEME)
        }
        stores = {each: os.urandom(12).hex() for each in layouts}
        for address, store in stores.items():
            self.layouts[f"oci:{store}"] = open_layout(parse_layout(address))
        excludes = {name: self._excludes(name, contexts) for name in reads}
        return Offer(excludes=excludes, reads=reads, commits=commits, stores=stores)

    def _excludes(self, name: str, contexts: Contexts) -> Sequence[str]:
        """Return the patterns of an ignore file, which only directories of this machine have."""
        tree, request = contexts.trees[name], self.reading.request
        if not tree.is_context:
            return ()
        main = self.reading.main.directory
        dockerfile = dockerfile_path(main, request) if name == MAIN_NAME else None
        return ignore_patterns(tree.root, dockerfile, request)


def _commits(contexts: Contexts) -> dict[str, GitOp]:
    """Return the contexts that are commits, each held to the one that was found."""
    return {
        name: replace(found.source, checksum=found.tree.revision)
        for name, found in contexts.trees.fetched.items()
        if isinstance(found.source, GitOp)
    }


def _paths(paths: Iterable[str]) -> tuple[str, ...]:
    """Return what is read of a context, below its root; () for all of it."""
    found = {posixpath.normpath(f"/{each.lstrip('/')}").lstrip("/") for each in paths}
    return () if "" in found else tuple(sorted(found))


def _solved(lowered: Sequence[Lowered], refs: Sequence[Ref]) -> Solved:
    """Return what frontends answer: results by platform, and what is said of each."""
    is_one = len(lowered) == 1 and not lowered[0].is_multi_platform
    metadata = {_PLATFORMS: compact({"Platforms": [_platform(each.platform) for each in lowered]})}
    epoch = lowered[0].epoch
    if epoch is not None:
        metadata[_EPOCH] = str(epoch).encode()
    found: dict[str, Ref] = {}
    for each, ref in zip(lowered, refs, strict=True):
        suffix = "" if is_one else f"/{each.platform}"
        found["" if is_one else str(each.platform)] = ref
        metadata[f"{_CONFIG}{suffix}"] = compact(_config(each.config))
        base = _base(each.vertex)
        if base is not None:
            config = ImageConfig(platform=base.platform, diff_ids=base.diff_ids)
            metadata[f"{_BASE_CONFIG}{suffix}"] = compact(config.to_json())
    return solved_of(found, metadata)


def _config(config: ImageConfig) -> dict[str, object]:
    """Return a config without a time, which the daemon sets unless something stands there, be it null."""
    return {name: value for name, value in config.to_json().items() if value is not None}


def _platform(platform: Platform) -> dict[str, object]:
    told = {"architecture": platform.architecture, "os": platform.os}
    return {
        "ID": str(platform),
        "Platform": told | ({"variant": platform.variant} if platform.variant else {}),
    }


def _base(vertex: Vertex) -> ImageOp | None:
    """Return the image whose layers a result begins with."""
    while isinstance(vertex.op, FileOp | ExecOp | MergeOp):
        vertex = vertex.inputs[0]
    return vertex.op if isinstance(vertex.op, ImageOp) else None
