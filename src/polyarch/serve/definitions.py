"""LLB that a client wants to be built, as `polyarch.pipeline.definition` asks for it.

The config of an image is told beside the graph: in metadata of a frontend's result, or as an attribute of an exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.graph.graph import GraphMaker
from polyarch.oci.base import DEFAULT_PATH
from polyarch.oci.config import ImageConfig, RunConfig, parse_config
from polyarch.platforms import Platform, host, normalize
from polyarch.platforms import parse as parse_platform
from polyarch.progress import Sink
from polyarch.serve.caches import ClientCaches
from polyarch.serve.contexts import LocalContexts
from polyarch.serve.llb.definition import Definition, read_definition
from polyarch.serve.llb.execs import ExecReader
from polyarch.serve.llb.graphs import Locals, Lowering
from polyarch.serve.messages import CONFIG, SolveRequest
from polyarch.store.statindex import StatIndex
from polyarch.worker.source_local import ContextDigests, open_context
from polyarch.worker.tree import SourceTree

__all__ = ["LLBFrontend"]


class LLBFrontend:
    """The definitions of one request, one for each platform."""

    def __init__(
        self,
        request: SolveRequest,
        contexts: LocalContexts,
        caches: ClientCaches,
        index: StatIndex,
        bring_result: Callable[[str], str],
    ) -> None:
        self._bring_result = bring_result
        self._request = request
        self._contexts = contexts
        self._caches = caches
        self._index = index
        self._trees: dict[str, SourceTree] = {}

    def lower(self, images: BaseImages, sink: Sink) -> Sequence[Lowered]:
        """See Frontend."""
        maker, found = GraphMaker(), Locals()
        definitions = self._request.definitions or {"": self._request.definition}
        lowered = []
        for name, data in definitions.items():
            definition = read_definition(data)
            lowering = Lowering(
                definition=definition,
                maker=maker,
                images=images,
                bring_layout=self._caches.bring_layout,
                bring_result=self._bring_result,
                execs=ExecReader(allow=frozenset(self._request.entitlements)),
                found=found,
            )
            config = self._config(name)
            platform = _platform(name, definition, config)
            lowered.append(
                Lowered(
                    platform=platform,
                    vertex=lowering.lower(),
                    config=config or _empty_config(platform),
                    is_multi_platform=bool(name),
                )
            )
        for key, wanted in found.items():
            directory = self._contexts.bring_wanted(key, wanted, sink)
            self._trees[key] = open_context(directory, None, ContextDigests(self._index, directory))
        return lowered

    def trees(self) -> Mapping[str, SourceTree]:
        """See Frontend."""
        return self._trees

    def _config(self, name: str) -> ImageConfig | None:
        metadata = self._request.metadata
        data = metadata.get(f"{CONFIG}/{name}") if name else metadata.get(CONFIG)
        for exported in self._request.exporters:
            data = data or exported.attributes.get(CONFIG, "").encode()
        return parse_config(data) if data else None


def _platform(name: str, definition: Definition, config: ImageConfig | None) -> Platform:
    """Return the platform of a result: by its name, else as its config has it, else that of its last op."""
    if name:
        return normalize(parse_platform(name))
    if config is not None and config.platform.architecture:
        return normalize(config.platform)
    return definition.ops[definition.wanted.op].platform if definition.wanted else host()


def _empty_config(platform: Platform) -> ImageConfig:
    run = RunConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/")
    return ImageConfig(platform=platform, run=run)
