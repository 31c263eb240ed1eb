"""What lowering knows beside the Dockerfile: options, base images, the graph that grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from polyarch.dockerfile.expand.expand import DISPLAY, WORD, Expansion, Mode, expand, expansion
from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.lowering.named import (
    SCRATCH,
    TARGET_SCHEME,
    Linked,
    NamedContext,
    context_name,
)
from polyarch.dockerfile.lowering.state import StageState
from polyarch.dockerfile.lowering.targets import stage_label
from polyarch.dockerfile.syntax.instruction import Instruction, Run, Stage
from polyarch.dockerfile.syntax.mount import Device
from polyarch.errors import DockerfileError, InputError, InvalidReference, PolyarchError
from polyarch.golang.strconv import quote
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import Location
from polyarch.graph.op import ImageOp, LocalOp, Op, ScratchOp
from polyarch.graph.vertex import StepNote, Vertex
from polyarch.oci.base import BaseImage
from polyarch.platforms import Platform, from_words, normalize
from polyarch.platforms import read as read_platform
from polyarch.record import field, frozen, mutable
from polyarch.request.limits import Resources, Ulimit
from polyarch.text.nearest import nearest

__all__ = [
    "MAIN_CONTEXT",
    "BaseImages",
    "LowerOptions",
    "Lowering",
    "expand_in",
    "expand_words_in",
    "has_windows_layers",
]

_NOTHING: Mapping[str, str] = MappingProxyType({})
MAIN_CONTEXT = "context"
_MAX_GROWTH = 1 << 26  # what no Dockerfile needs, and any machine can hold
_RESERVED = frozenset({SCRATCH, MAIN_CONTEXT})
_COMMON_IMAGES = tuple(
    f"{name}{tag}"
    for name in ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")
    for tag in ("", ":latest")
)


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
    `contexts` maps the names of named contexts to what they are: a directory, an address or an image; a
    name may end in `::` and the platform that it is for.
    `epoch` is SOURCE_DATE_EPOCH, in seconds: the time of what is made on the way to a destination.
    `all_stages` asks for stages that the target doesn't need, too. `ignores` says of a path of the build
    context whether it is left out, where that is certain. `grant_devices` turns devices that a step asks
    for into those of this machine, and refuses what isn't allowed; None takes the names as they are. `lint`
    is told of all that is come across. `linked` gives what a named context stands for that is the result of another build.
    `places` tells apart, by name, contexts of several builds that are solved together.
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
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0
    cgroup_parent: str = ""
    resources: Resources = field(default_factory=Resources)
    allow: frozenset[str] = frozenset()
    grant_devices: Callable[[Sequence[Device]], tuple[str, ...]] | None = None
    epoch: int | None = None
    all_stages: bool = False
    ignores: Callable[[str], bool] | None = None
    lint: Linter = field(default_factory=Linter, compare=False)
    linked: Callable[[str, Platform], Linked] | None = None
    places: Mapping[str, str] = field(default_factory=dict)


@mutable
class Lowering:
    """One Dockerfile being lowered for one platform.

    `global_args` are the values of the ARGs before the first FROM and of the platform arguments;
    `written` are the stages of the Dockerfile; `lower_stage` lowers one of them. `names_stages` says
    that the names of steps tell their stage, as there is more than one.
    """

    platform: Platform
    options: LowerOptions
    maker: GraphMaker
    images: BaseImages
    escape: str
    global_args: Mapping[str, str] = field(default_factory=dict)
    written: tuple[Stage, ...] = ()
    names_stages: bool = True
    lower_stage: Callable[[int], StageState] | None = None
    grown: int = 0
    """How many characters variables and ranges have added to its texts."""
    _stages: dict[int, StageState | None] = field(default_factory=dict)

    @property
    def lint(self) -> Linter:
        """The checks."""
        return self.options.lint

    @property
    def build_args(self) -> Mapping[str, str]:
        """The values that the command line gives."""
        return self.options.build_args

    def grow(self, size: int, instruction: Instruction) -> None:
        """Count what an instruction makes longer. Raises DockerfileError if it is too much in all."""
        self.grown += max(0, size)
        if self.grown > _MAX_GROWTH:
            raise DockerfileError(
                f"variables and ranges add more than {_MAX_GROWTH} characters to the Dockerfile",
                hint="long values belong in files",
                place=instruction.location,
            )

    def lowered(self) -> list[StageState]:
        """Return the stages that were lowered, in the order of the file."""
        return [state for _, state in sorted(self._stages.items()) if state is not None]

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

    def find_context(self, name: str, platform: Platform) -> NamedContext | None:
        """Return what the command line says that `name` stands for on a platform, None for nothing."""
        contexts = self.options.contexts
        if not contexts or name.lower() in _RESERVED:
            return None
        key = context_name(name, platform, contexts)
        return NamedContext(key=key, value=contexts[key]) if key is not None else None

    def stage_context(self, index: int, platform: Platform) -> NamedContext | None:
        """Return what the command line puts in the place of a stage."""
        name = self.written[index].name
        return self.find_context(name, platform) if name else None

    def prefix(self, state: StageState, variables: Mapping[str, str]) -> str:
        """Return what stands before the number in the name of a stage's next step.

        `variables` tell which platform the stage makes things for, if it asks.
        """
        words = []
        if self.options.is_multi_platform:
            words.append(str(state.platform) + _crossing(state.platform, variables))
        if self.names_stages:
            words.append(state.stage.name or f"stage-{state.index}")
        return " ".join(words)

    def add(
        self,
        state: StageState,
        op: Op,
        inputs: tuple[Vertex, ...],
        text: str,
        instruction: Instruction,
        *,
        may_ignore_cache: bool = True,
        masked: Mapping[str, str] = _NOTHING,
    ) -> Vertex:
        """Add the vertex of a step that people see as `text`. Raises DockerfileError on Windows.

        `may_ignore_cache` says whether `--no-cache` is meant for it; `masked` stands for variables' values.
        """
        if state.is_windows:
            raise _no_windows(instruction.location)
        shown = self._shown(state, text, instruction, masked)
        return self.maker.add(
            op,
            inputs,
            name=state.step_name(shown, self.prefix(state, state.variables)),
            location=instruction.location,
            platform_name=str(state.platform),
            ignore_cache=state.ignore_cache and may_ignore_cache,
            note=StepNote(
                stage=state.stage.name or str(state.index),
                number=state.step,
                text=shown,
                arguments=state.arguments(),
            ),
        )

    def _shown(
        self, state: StageState, text: str, instruction: Instruction, masked: Mapping[str, str]
    ) -> str:
        variables = {**state.variables, **masked} if masked else state.variables
        mode = DISPLAY if isinstance(instruction, Run) else WORD
        try:
            shown = expand(text, variables, escape=self.escape, mode=mode)
        except DockerfileError:
            shown = text  # what the shell makes of it is its own business
        keyword, blank, rest = shown.partition(" ")
        return f"{'ONBUILD ' * state.is_trigger}{keyword.upper()}{blank}{rest}"

    def resolve(self, reference: str, platform: Platform, location: Location) -> BaseImage:
        """Ask for an image; an error gets the place of the instruction that names it.

        It also gets the name of a stage or a common image, if one is near.
        """
        try:
            return self.images.resolve(reference, platform)
        except InvalidReference as error:
            raise DockerfileError(
                f"failed to parse stage name {quote(reference)}: {error}",
                hint=error.hint,
                place=location,
            ) from error
        except PolyarchError as error:
            error.place = error.place or location
            stages = [stage_label(self.written, index) for index in range(len(self.written))]
            near = nearest(reference, (*stages, *_COMMON_IMAGES))
            if near:
                error.args = (f"{error} (did you mean {near}?)",)
            if near in stages:
                error.hint = "no stage has that name, so it was taken for an image"
                # Whatever a registry said to that, it is the Dockerfile's mistake.
                error.exit_status = PolyarchError.exit_status
            raise

    def add_image(
        self, base: BaseImage, platform: Platform, location: Location, name: str
    ) -> Vertex:
        """Add the vertex of an image."""
        op = ImageOp.of(base, platform)
        return self.maker.add(op, name=name, location=location, platform_name=str(platform))

    def local(self) -> Vertex:
        """Add the vertex of the build context."""
        return self.maker.add(self.local_op(MAIN_CONTEXT), name="[internal] load build context")

    def local_op(self, name: str) -> LocalOp:
        """Return the op that reads a context."""
        return LocalOp(name=name, place=self.options.places.get(name, ""))

    def linked(self, context: NamedContext, platform: Platform) -> Linked:
        """Return what a named context that is the result of another build has for a platform. Raises PolyarchError."""
        assert self.options.linked is not None
        return self.options.linked(context.value.removeprefix(TARGET_SCHEME), platform)

    def named(self, context: NamedContext) -> Vertex:
        """Add the vertex of a named context of files."""
        shown = f"[context {context.key}] load from client"
        return self.maker.add(self.local_op(context.key), name=shown)

    def _earlier_stage(
        self, state: StageState, name: str, index: int, location: Location
    ) -> Vertex:
        if index >= state.index:
            raise DockerfileError(
                f"cannot mount from stage {quote(name)}, "
                "stage needs to be defined before current command",
                hint="move that stage up",
                place=location,
            )
        state.taken.stages[index] = None
        return self.stage(index).vertex

    def source(
        self, state: StageState, name: str, index: int | None, location: Location
    ) -> tuple[Vertex, bool]:
        """Return the vertex that a `from` names, and whether it is a build context.

        `index` is the stage of that name, if there is one.
        """
        if not name:
            return self.local(), True
        # Whatever the platform of this stage: a stage of its own says for which another image is.
        platform = self.platform
        if index is not None:
            context = self.stage_context(index, platform)
            if context is None:
                return self._earlier_stage(state, name, index, location), False
        else:
            context = self.find_context(name, platform)
        if name == SCRATCH or (context and context.is_empty):
            return self.maker.add(ScratchOp()), False
        if context and context.is_target:
            return self.linked(context, platform).vertex, False
        if context and not context.image:
            return self.named(context), True
        base = self.resolve(context.image if context else name, platform, location)
        if has_windows_layers(base):
            raise _no_windows(location)
        shown = f"FROM {base.pinned}"
        return self.add_image(base, platform, location, shown), False


def has_windows_layers(base: BaseImage) -> bool:
    """Tell if the layers of an image are those of Windows: files below `Files`, and the registry."""
    return bool(base.diff_ids) and base.config.platform.os == "windows"


def _no_windows(location: Location) -> DockerfileError:
    return DockerfileError(
        "the files of a Windows image can't be read or changed here",
        hint="ENV, CMD and the like can be set in a stage from it; for the rest build on Windows",
        place=location,
    )


def _crossing(platform: Platform, variables: Mapping[str, str]) -> str:
    """Return an arrow and what is made on a platform, where that is another one and is known."""
    target = _target(platform, variables)
    if target is None or (target.os, target.architecture) == (platform.os, platform.architecture):
        return ""
    name = str(target)
    return "->" + (name.partition("/")[2] if platform.os == target.os else name)


def _target(platform: Platform, variables: Mapping[str, str]) -> Platform | None:
    if whole := variables.get("TARGETPLATFORM"):
        try:
            return read_platform(whole)
        except InputError:
            pass
    if not any(f"TARGET{part}" in variables for part in ("OS", "ARCH", "VARIANT")):
        return None
    return normalize(
        from_words(
            variables.get("TARGETOS") or platform.os,
            variables.get("TARGETARCH") or platform.architecture,
            variables.get("TARGETVARIANT", ""),
        )
    )


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
    """Expand variables, then split into words. Raises DockerfileError with the place.

    Variables that aren't set are no finding here: BuildKit's check doesn't see those of EXPOSE.
    """
    escape, place = lowering.escape, instruction.location
    return expansion(text, state.variables, escape=escape, place=place).words


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
    lowering.grow(len(found.text) - len(text), instruction)
    unmatched = found.unmatched - set(state.build_args)
    if unmatched:
        lowering.lint.variables(instruction, unmatched, tuple(state.variables))
    return found


def _escape(lowering: Lowering, mode: Mode) -> str:
    # The directive changes it for instructions only, not inside of here-documents.
    return lowering.escape if mode == WORD else "\\"
