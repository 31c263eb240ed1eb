"""What lowering knows beside the Dockerfile: options, base images, the graph that grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from polyarch.dockerfile.expand import DISPLAY, WORD, Expansion, Mode, expand, expansion
from polyarch.dockerfile.instruction import Instruction, Stage
from polyarch.dockerfile.lint import Linter
from polyarch.dockerfile.mount import Device
from polyarch.dockerfile.stage import StageState
from polyarch.errors import DockerfileError, InputError, PolyarchError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import Location
from polyarch.graph.op import ImageOp, LocalOp, Op, ScratchOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import BaseImage
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.record import field, frozen, mutable
from polyarch.request import Resources
from polyarch.text.gotext import suggestion

__all__ = [
    "BaseImages",
    "LowerOptions",
    "Lowering",
    "expand_in",
    "expand_words_in",
]

MAIN_CONTEXT = "context"
SCRATCH = "scratch"
IMAGE_SCHEME = "docker-image://"


class BaseImages(Protocol):
    """Where the configs of base images come from; handed in, so that the frontend needs no network."""

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        """Return the image of that name for that platform.

        Raises NotFound if there is none, or none for the platform; RemoteError if it can't be asked.
        """


@frozen
class LowerOptions:
    """The request's part in what a Dockerfile means.

    `is_explicit` says that the platform was asked for, rather than taken from this machine.
    `contexts` maps the names of named contexts to what they are (a folder or an image reference).
    `epoch` is SOURCE_DATE_EPOCH, in seconds: the time of what is made on the way to a destination.
    `all_stages` asks for stages that the target doesn't need, too. `ignores` says of a path of the build
    context whether it is left out, where that is certain. `grant_devices` turns devices that a step asks
    for into those of this machine, and refuses what isn't allowed; None takes the names as they are. `lint` is told of all that is come across.
    """

    build_platform: Platform
    is_explicit: bool = False
    is_multi_platform: bool = False
    target: str = ""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    no_cache_stages: frozenset[str] = frozenset()
    network: str = "default"
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    shm_size: int = 0
    cgroup_parent: str = ""
    resources: Resources = field(default_factory=Resources)
    allow: frozenset[str] = frozenset()
    grant_devices: Callable[[Sequence[Device]], tuple[str, ...]] | None = None
    epoch: int | None = None
    all_stages: bool = False
    ignores: Callable[[str], bool] | None = None
    lint: Linter = field(default_factory=Linter, compare=False)


@mutable
class Lowering:
    """One Dockerfile being lowered for one platform.

    `global_args` are the values of the ARGs before the first FROM and of the platform arguments;
    `written` are the stages of the Dockerfile; `lower_stage` lowers one of them.
    """

    platform: Platform
    options: LowerOptions
    maker: GraphMaker
    images: BaseImages
    escape: str
    global_args: Mapping[str, str] = field(default_factory=dict)
    written: tuple[Stage, ...] = ()
    lower_stage: Callable[[int], StageState] | None = None
    _stages: dict[int, StageState | None] = field(default_factory=dict)

    @property
    def lint(self) -> Linter:
        """The checks."""
        return self.options.lint

    @property
    def build_args(self) -> Mapping[str, str]:
        """The values that the command line gives."""
        return self.options.build_args

    def stage(self, index: int) -> StageState:
        """Return a stage, lowered; at once if it wasn't yet: a trigger of a base image may name any.

        Raises DockerfileError if the stage needs itself.
        """
        if index not in self._stages:
            assert self.lower_stage is not None
            self._stages[index] = None
            self._stages[index] = self.lower_stage(index)
        state = self._stages[index]
        if state is None:
            stage = self.written[index]
            raise DockerfileError(
                f"circular dependency detected on stage: {stage.name or index}",
                place=stage.location,
            )
        return state

    def find_context(self, name: str, platform: Platform) -> str:
        """Return what the command line says that `name` stands for, "" for nothing."""
        if name == SCRATCH:
            return ""
        contexts = self.options.contexts
        familiar = _familiar(name)
        return contexts.get(f"{familiar}::{platform}") or contexts.get(familiar, "")

    def prefix(self, stage: Stage, index: int, platform: Platform) -> str:
        """Return what stands before the number in the names of a stage's steps."""
        words = []
        if self.options.is_multi_platform:
            words.append(str(platform) + self._crossing(platform))
        if stage.name:
            words.append(stage.name)
        elif len(self.written) > 1:
            words.append(f"stage-{index}")
        return " ".join(words)

    def _crossing(self, platform: Platform) -> str:
        if platform == self.platform:
            return ""
        target = str(self.platform)
        return "->" + (target.partition("/")[2] if platform.os == self.platform.os else target)

    def add(
        self,
        state: StageState,
        op: Op,
        inputs: tuple[Vertex, ...],
        text: str,
        instruction: Instruction,
        masked: Mapping[str, str] = MappingProxyType({}),
    ) -> Vertex:
        """Add the vertex of a step that people see as `text`; `masked` stands for variables' values."""
        variables = {**state.variables, **masked} if masked else state.variables
        shown = expand(text, variables, escape=self.escape, mode=DISPLAY)
        return self.maker.add(
            op,
            inputs,
            name=state.step_name(shown),
            location=instruction.location,
            platform_name=str(state.platform),
            ignore_cache=state.ignore_cache,
        )

    def resolve(self, reference: str, platform: Platform, location: Location) -> BaseImage:
        """Ask for an image; an error gets the place of the instruction that names it."""
        try:
            return self.images.resolve(reference, platform)
        except PolyarchError as error:
            error.place = error.place or location
            stages = [stage.name for stage in self.written if stage.name]
            if near := suggestion(reference.lower(), stages):
                error.hint = f"no stage has that name, so it was taken for an image{near}"
            raise

    def add_image(
        self, base: BaseImage, platform: Platform, location: Location, name: str
    ) -> Vertex:
        """Add the vertex of an image."""
        op = ImageOp(
            reference=base.reference, digest=base.digest, platform=platform, diff_ids=base.diff_ids
        )
        return self.maker.add(op, name=name, location=location, platform_name=str(platform))

    def local(self, name: str) -> Vertex:
        """Add the vertex of a build context."""
        is_main = name == MAIN_CONTEXT
        shown = "load build context" if is_main else f"load build context {name}"
        return self.maker.add(LocalOp(name=name), name=f"[internal] {shown}")

    def source(
        self, state: StageState, name: str, index: int | None, location: Location
    ) -> tuple[Vertex, bool]:
        """Return the vertex that a `from` names, and whether it is a build context.

        `index` is the stage of that name, if there is one.
        """
        if not name:
            return self.local(MAIN_CONTEXT), True
        context = self.find_context(name, state.platform)
        if index is not None and not context:
            return self.stage(index).vertex, False
        if name == SCRATCH:
            return self.maker.add(ScratchOp()), False
        if context and not context.startswith(IMAGE_SCHEME):
            return self.local(name), True
        base = self.resolve(context.removeprefix(IMAGE_SCHEME) or name, state.platform, location)
        shown = f"FROM {base.reference}@{base.digest}"
        return self.add_image(base, state.platform, location, shown), False


def _familiar(name: str) -> str:
    """Write an image's name as named contexts are called; what is no reference stays as it is."""
    try:
        reference = parse_reference(name)
    except InputError:
        return name
    return reference.familiar.removesuffix(":latest")


def expand_in(
    state: StageState,
    word: str,
    instruction: Instruction,
    lowering: Lowering,
    mode: Mode = WORD,
) -> str:
    """Expand the variables of a word, remove its quotes. Raises DockerfileError with the place."""
    if "$" not in word:
        escape = _escape(lowering, mode)
        return expand(word, {}, escape=escape, mode=mode, place=instruction.location)
    return _expanded(state, word, instruction, lowering, mode).text


def expand_words_in(
    state: StageState, text: str, instruction: Instruction, lowering: Lowering
) -> tuple[str, ...]:
    """Expand variables, then split into words. Raises DockerfileError with the place."""
    return _expanded(state, text, instruction, lowering, WORD).words


def _expanded(
    state: StageState, text: str, instruction: Instruction, lowering: Lowering, mode: Mode
) -> Expansion:
    found = expansion(
        text,
        state.variables,
        escape=_escape(lowering, mode),
        mode=mode,
        place=instruction.location,
    )
    unmatched = found.unmatched - set(state.build_args)
    if unmatched:
        lowering.lint.variables(instruction, unmatched, tuple(state.variables))
    return found


def _escape(lowering: Lowering, mode: Mode) -> str:
    # The directive changes it for instructions only, not inside of here-documents.
    return lowering.escape if mode == WORD else "\\"
