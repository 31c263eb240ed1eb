"""LLB that a client wants to be built, as `polyarch.pipeline.definition` asks for it.

The config of an image is told beside the graph: in metadata of a frontend's result, or as an attribute of an exporter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from polyarch.attest.given import Given
from polyarch.buildkit.llb.numbers import EXEC
from polyarch.digest import sha256
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.errors import InputError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import ScratchOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import DEFAULT_PATH
from polyarch.oci.config import ImageConfig, RunConfig, parse_config
from polyarch.pipeline.definition import Attestations
from polyarch.pipeline.reading import grant_devices
from polyarch.platforms import Platform, host, normalize
from polyarch.platforms import parse as parse_platform
from polyarch.progress import Sink
from polyarch.record import frozen
from polyarch.serve.caches import ClientCaches
from polyarch.serve.contexts import LocalContexts
from polyarch.serve.llb.definition import Definition, Op, read_definition
from polyarch.serve.llb.execs import ExecReader
from polyarch.serve.llb.graphs import Locals, Lowering, as_it_is
from polyarch.serve.messages import CONFIG, EPOCH, Attested, SolveRequest
from polyarch.serve.policies import Policy
from polyarch.snapshot.stack import LayerStack
from polyarch.store.statindex import StatIndex
from polyarch.text.epoch import parse_epoch
from polyarch.wire import Message, field, present_number
from polyarch.worker.source_local import ContextDigests, open_context
from polyarch.worker.tree import SourceTree

__all__ = ["ContainerMounts", "Definitions", "LLBFrontend", "Mounted"]

_EPOCH_ARGUMENT = "build-arg:SOURCE_DATE_EPOCH"


class Definitions:
    """Makes vertices of definitions, and brings the directories of the client that they read."""

    def __init__(
        self,
        request: SolveRequest,
        contexts: LocalContexts,
        caches: ClientCaches,
        index: StatIndex,
        bring_result: Callable[[str], str],
        environ: Mapping[str, str],
        policy: Policy | None,
        pins: Mapping[str, str],
    ) -> None:
        self._policy = policy
        self._pins = pins
        self._environ = environ
        self._bring_result = bring_result
        self._request = request
        self._contexts = contexts
        self._caches = caches
        self._index = index
        self._found = Locals()
        self._required: dict[Vertex, None] = {}
        self.maker = GraphMaker()
        self._attested: dict[Platform, list[tuple[Given, Vertex]]] = {}
        self._trees: dict[str, SourceTree] = {}

    @property
    def execs(self) -> ExecReader:
        """What reads exec ops, with what the request allows."""
        allow = self._request.entitlements
        return ExecReader(
            allow=frozenset(allow),
            grant=partial(grant_devices, allow=allow, environ=self._environ),
        )

    def lowering(self, definition: Definition, images: BaseImages) -> Lowering:
        """Return what makes the vertices of a definition; all are of one graph."""
        if self._policy is not None:
            self._policy.foresee(definition.sources())
        return Lowering(
            replaced=self._policy.replaced if self._policy is not None else as_it_is,
            definition=definition,
            maker=self.maker,
            images=images,
            bring_layout=self._caches.bring_layout,
            bring_result=self._bring_result,
            execs=self.execs,
            found=self._found,
            pins=self._pins,
            required=self._required,
        )

    def bring(self, sink: Sink) -> None:
        """Bring the directories that are read by what was lowered."""
        for key, wanted in self._found.items():
            directory = self._contexts.bring_wanted(key, wanted, sink)
            self._trees[key] = open_context(directory, None, ContextDigests(self._index, directory))

    def required(self) -> Sequence[Vertex]:
        """See Frontend."""
        return tuple(self._required)

    def trees(self) -> Mapping[str, SourceTree]:
        """See Frontend."""
        return self._trees


class LLBFrontend(Definitions):
    """The definitions of one request, one for each platform."""

    def lower(self, images: BaseImages, sink: Sink) -> Sequence[Lowered]:
        """See Frontend."""
        definitions = self._request.definitions or {"": self._request.definition}
        lowered = []
        for name, data in definitions.items():
            definition = read_definition(data)
            lowering = self.lowering(definition, images)
            config = self._config(name)
            platform = _platform(name, definition, config)
            lowered.append(
                Lowered(
                    platform=platform,
                    vertex=lowering.lower(),
                    config=config or _empty_config(platform),
                    epoch=self._epoch(name),
                    is_multi_platform=bool(name),
                )
            )
            attested = self._request.attested.get(name, ()) if name else self._all_attested()
            if attested:
                self._attested[platform] = [
                    (each.given, self._tree(each.definition, images)) for each in attested
                ]
        self.bring(sink)
        return lowered

    def _all_attested(self) -> Sequence[Attested]:
        """Return what is attested of the only result, whatever its platform is called there."""
        return [each for found in self._request.attested.values() for each in found]

    def _tree(self, definition: bytes, images: BaseImages) -> Vertex:
        return self.lowering(read_definition(definition), images).lower()

    def attested(self) -> Attestations:
        """See Frontend."""
        return self._attested

    def _epoch(self, name: str) -> int | None:
        """Return the latest time of what is new: as the frontend says, else as the client does."""
        metadata = self._request.metadata
        told = metadata.get(f"{EPOCH}/{name}") or metadata.get(EPOCH)
        text = told.decode() if told else self._request.attributes.get(_EPOCH_ARGUMENT, "")
        with suppress(InputError):  # so it is passed over
            return parse_epoch(text)
        return None

    def _config(self, name: str) -> ImageConfig | None:
        metadata = self._request.metadata
        data = metadata.get(f"{CONFIG}/{name}") if name else metadata.get(CONFIG)
        for exported in self._request.exporters:
            data = data or exported.attributes.get(CONFIG, "").encode()
        return parse_config(data) if data else None


@frozen
class Mounted:
    """A mount of a container: pb.Mount as it came, and what it shows: a definition, or a result that is there already."""

    message: bytes
    definition: bytes = b""
    result: LayerStack | None = None


class ContainerMounts:
    """What a container mounts, as `polyarch.pipeline.containers` asks for it."""

    def __init__(
        self, definitions: Definitions, mounts: Sequence[Mounted], told: bytes, platform: Platform
    ) -> None:
        """Have `mounts`; `told` is what an ExecOp has to say beside them."""
        self._definitions = definitions
        self._mounts = mounts
        self._told = told
        self._platform = platform
        self._given: dict[int, LayerStack] = {}
        self.trees = definitions.trees

    def lower(self, images: BaseImages, sink: Sink) -> Vertex:
        """See Wanted."""
        maker = self._definitions.maker
        shown: list[Vertex] = []
        results: dict[int, LayerStack] = {}
        message = self._told
        for each in self._mounts:
            number = -1
            if each.definition or each.result is not None:
                number = len(shown)
                shown.append(self._shown(each, images))
            if each.result is not None:
                results[number] = each.result
            # The last of two numbers of a mount counts.
            message += field(2, each.message + present_number(1, number))
        op = Op(
            digest=sha256(message),
            kind=EXEC,
            message=Message(message),
            inputs=(),
            platform=self._platform,
        )
        order: list[int] = []

        def take(number: int) -> Vertex:
            order.append(number)
            return maker.add(ScratchOp()) if number < 0 else shown[number]

        made, inputs, _ = self._definitions.execs.read(op, (), take, take)
        self._given = {at: results[each] for at, each in enumerate(order) if each in results}
        self._definitions.bring(sink)
        return maker.add(made, inputs, name="container")

    def _shown(self, mounted: Mounted, images: BaseImages) -> Vertex:
        if mounted.result is not None:
            return self._definitions.maker.add(ScratchOp())
        lowering = self._definitions.lowering(read_definition(mounted.definition), images)
        return lowering.lower()

    def given(self) -> Mapping[int, LayerStack]:
        """See Wanted."""
        return self._given


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
