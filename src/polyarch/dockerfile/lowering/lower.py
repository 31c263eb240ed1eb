"""From a Dockerfile and a platform to a graph and an image config.

The whole Dockerfile is lowered once for each platform, into one `GraphMaker`, so that what two
platforms have in common becomes one vertex. Only stages that the target needs are lowered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.dockerfile.args import SCAN_CONTEXT, SCAN_STAGE, global_scope, platform_args
from polyarch.dockerfile.expand.expand import Expansion, expand, expansion
from polyarch.dockerfile.lowering.dispatch import dispatch
from polyarch.dockerfile.lowering.epoch import SOURCE_DATE_EPOCH
from polyarch.dockerfile.lowering.imageconfig import inherited, target_platform
from polyarch.dockerfile.lowering.lowering import (
    MAIN_CONTEXT,
    BaseImages,
    Lowering,
    LowerOptions,
    has_windows_layers,
)
from polyarch.dockerfile.lowering.named import SCRATCH, NamedContext
from polyarch.dockerfile.lowering.state import StageState
from polyarch.dockerfile.lowering.targets import (
    check_sources,
    find_base_stage,
    find_target,
    needed_stages,
    takes_images,
)
from polyarch.dockerfile.parser import Dockerfile, parse_trigger
from polyarch.dockerfile.syntax.instruction import Add, Copy, Instruction, Run, Stage, Workdir
from polyarch.errors import DockerfileError, InputError
from polyarch.golang.strconv import find_bool
from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import CopyAction, FileOp, ScratchOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.config import ImageConfig, RunConfig
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.platforms import read as read_platform
from polyarch.progress import check_cancelled
from polyarch.record import field, frozen, replace
from polyarch.text.nearest import suggestion

__all__ = ["Lowered", "from_expansions", "lower", "lower_stages"]

_STEPS = (Add, Copy, Run, Workdir)


@frozen
class Lowered:
    """What a Dockerfile means for one platform.

    `vertex` gives the file system; `config` is the image config without layers and times; its history
    holds the base image's entries as they are, and new ones that have no time yet. `epoch` is
    the latest time, in seconds, that anything new may have; `is_multi_platform` says that this is one
    of several platforms, or to be kept as if it were. `scanned` are the trees beside the result, by name, whose software
    the Dockerfile asks to be listed, and `lister` is the step that an image makes these lists in, if one does.
    """

    platform: Platform
    vertex: Vertex
    config: ImageConfig
    epoch: int | None = None
    is_multi_platform: bool = False
    scanned: Mapping[str, Vertex] = field(default_factory=dict)
    lister: Vertex | None = None


def lower(
    dockerfile: Dockerfile,
    platform: Platform,
    *,
    options: LowerOptions,
    maker: GraphMaker,
    images: BaseImages,
) -> Lowered:
    """Lower `dockerfile` for `platform`.

    Raises DockerfileError with the place for whatever can't be done.
    """
    lowering, target = lower_stages(
        dockerfile, platform, options=options, maker=maker, images=images
    )
    return _finish(lowering.stage(target), lowering)


def lower_stages(
    dockerfile: Dockerfile,
    platform: Platform,
    *,
    options: LowerOptions,
    maker: GraphMaker,
    images: BaseImages,
) -> tuple[Lowering, int]:
    """Lower the stages that the target needs; return what holds them, and the target's index.

    Raises as `lower`.
    """
    stages = dockerfile.stages
    stage_name = options.target or stages[find_target(dockerfile)].name
    defaults = platform_args(platform, options.build_platform, stage=stage_name)
    scope = global_scope(
        dockerfile.global_args, options.build_args, defaults, escape=dockerfile.escape
    )
    options = replace(options, build_args=_dated(options.build_args, options.epoch))
    lowering = Lowering(
        platform=platform,
        options=options,
        maker=maker,
        images=images,
        escape=dockerfile.escape,
        written=stages,
        global_args=_dated(scope, options.epoch),
    )
    options.lint.stages(stages)
    _check_defaults(dockerfile, lowering, defaults)
    known = tuple({*defaults, *_declared(dockerfile)})
    starts = [_start(stage, lowering, known) for stage in stages]
    target = find_target(dockerfile, options.target)
    check_sources(stages)
    lowering.names_stages = len(stages) > 1 or takes_images(stages)
    lowering.lower_stage = lambda index: _lower_stage(index, starts[index], lowering)
    bases = [start.base for start in starts]
    replaced = {index for index, start in enumerate(starts) if start.is_replaced}
    needed: set[int] = set()
    for wanted in range(len(stages)) if options.all_stages else (target,):
        needed.update(needed_stages(stages, wanted, bases, replaced=replaced, known=needed))
    for index in sorted(needed - replaced):
        lowering.stage(index)
    options.lint.check_failure()
    return lowering, target


def _dated(args: Mapping[str, str], epoch: int | None) -> dict[str, str]:
    """Return arguments with the seconds in place of the name of what dates the build."""
    dated = dict(args)
    text = dated.get(SOURCE_DATE_EPOCH)
    if text is not None and epoch is not None:
        dated[SOURCE_DATE_EPOCH] = str(epoch)
    elif text is not None and not text.removeprefix("-").isdecimal():
        del dated[SOURCE_DATE_EPOCH]  # what it names has no date, or it is empty
    return dated


@frozen
class _Start:
    """What a stage begins with: the name behind FROM, expanded, and the platform if it gives one.

    `is_replaced` says that a build context of the stage's name stands in for all of it.
    """

    base: str
    platform: Platform | None
    is_replaced: bool


def _declared(dockerfile: Dockerfile) -> list[str]:
    return [each.name for arg in dockerfile.global_args for each in arg.definitions]


def _start(stage: Stage, lowering: Lowering, known: tuple[str, ...]) -> _Start:
    """Expand what stands behind FROM, and have it checked, whether the stage is needed or not.

    Raises DockerfileError for a blank name, and for a platform that is none.
    """
    lint = lowering.options.lint
    found = _expansion(stage.base, stage, lowering)
    lint.base(stage, found, known)
    if not found.text:
        raise DockerfileError(
            f"base name ({stage.base}) should not be blank",
            hint=_blank_hint(sorted(found.unmatched), known),
            place=stage.location,
        )
    platform = None
    if stage.platform:
        found_platform = _expansion(stage.platform, stage, lowering)
        target = lowering.global_args.get("TARGETPLATFORM", "")
        lint.base(stage, found_platform, known)
        lint.stage_platform(stage, found_platform, target)
        platform = _parsed_platform(stage, found_platform, lowering)
    context = lowering.find_context(stage.name, platform or lowering.platform)
    return _Start(base=found.text, platform=platform, is_replaced=bool(stage.name and context))


def _blank_hint(unset: Sequence[str], known: Sequence[str]) -> str:
    for name in unset:
        if name in known:
            return f"give {name} a value: --build-arg {name}=IMAGE, or a default in its ARG"
        return f"no ARG before the first FROM declares {name}{suggestion(name, known)}"
    return ""


def _parsed_platform(stage: Stage, found: Expansion, lowering: Lowering) -> Platform:
    near = (suggestion(name, lowering.global_args) for name in sorted(found.unmatched))
    hint = next(filter(None, near), "")
    if not found.text:
        raise DockerfileError(
            f"empty platform value from expression {stage.platform}{hint}", place=stage.location
        )
    try:
        return read_platform(found.text)
    except InputError as error:
        raise DockerfileError(
            f"failed to parse platform {stage.platform}: {error}{hint}",
            hint=error.hint,
            place=stage.location,
        ) from error


def _check_defaults(
    dockerfile: Dockerfile, lowering: Lowering, defaults: Mapping[str, str]
) -> None:
    """Have the bases checked that there would be without build arguments."""
    given = {name: lowering.build_args.get(name, value) for name, value in defaults.items()}
    try:
        scope = global_scope(dockerfile.global_args, {}, given, escape=dockerfile.escape)
        for stage in lowering.written:
            name = expand(stage.base, scope, escape=dockerfile.escape)
            try:
                parse_reference(name)
            except InputError:
                lowering.lint.default_base(stage)
    except DockerfileError:
        return  # what can't be expanded is told when it has to be


def _finish(state: StageState, lowering: Lowering) -> Lowered:
    wanted = lowering.platform if lowering.options.is_explicit else None
    labels = {**state.run.labels, **lowering.options.labels}
    return Lowered(
        platform=lowering.platform,
        vertex=state.vertex,
        config=replace(
            state.config,
            platform=target_platform(state.config.platform, wanted),
            run=replace(state.run, labels=labels),
            history=tuple(state.history),
        ),
        epoch=lowering.options.epoch,
        is_multi_platform=lowering.options.is_multi_platform,
        scanned=_scanned(state, lowering),
    )


def _scanned(target: StageState, lowering: Lowering) -> dict[str, Vertex]:
    """Return what is to be scanned beside the target: stages that it needs, by name, and the build context."""
    found = {}
    if _is_scanned(target, SCAN_CONTEXT, lowering):
        everything = CopyAction(input=1, sources=("/",), destination="/", keep_owner=True)
        context = lowering.maker.add(lowering.local_op(MAIN_CONTEXT))
        nothing = lowering.maker.add(ScratchOp())
        found["context"] = lowering.maker.add(
            FileOp(actions=(everything,)),
            (nothing, context),
            name="[context] load for the list of software",
        )
    for state in lowering.lowered():
        if state is not target and _is_scanned(state, SCAN_STAGE, lowering):
            found[state.stage.name or str(state.index)] = state.vertex
    return found


def _is_scanned(state: StageState, name: str, lowering: Lowering) -> bool:
    """Tell whether an argument is on for a stage: true, or a list with the stage in it."""
    declared = state.taken.args.get(name)
    text = declared.value if declared is not None else lowering.global_args.get(name, "")
    wanted = find_bool(text) if text else False
    return state.stage.name in text.split(",") if wanted is None else wanted


def _lower_stage(index: int, start: _Start, lowering: Lowering) -> StageState:
    stage = lowering.written[index]
    state = _begin(stage, index, start, lowering)
    triggers = () if start.is_replaced else _triggers(state, stage)
    instructions = () if start.is_replaced else stage.instructions
    _number_steps(state, (*triggers, *instructions), lowering)
    state.steps += sum(not isinstance(each, _STEPS) for each in triggers)
    if start.is_replaced:
        return state
    try:
        state.enter()
    except DockerfileError as error:
        error.place = error.place or stage.location
        raise
    for number, instruction in enumerate((*triggers, *instructions)):
        check_cancelled()
        state.is_trigger = number < len(triggers)
        dispatch(state, instruction, lowering)
    return state


def _begin(stage: Stage, index: int, start: _Start, lowering: Lowering) -> StageState:
    """Start from a build context, an earlier stage, nothing, or an image: whichever has the name."""
    platform = start.platform or lowering.platform
    if start.is_replaced:
        context = lowering.stage_context(index, platform)
    else:
        parent = find_base_stage(lowering.written, start.base, before=index)
        if parent is not None:
            state = lowering.stage(parent).fork(stage, index)
            state.taken.parent = parent
            return state
        context = lowering.find_context(start.base, platform)
    if start.base == SCRATCH if context is None else context.is_empty:
        # Not the platform of FROM: nothing is the same on all of them, and so it is in BuildKit.
        return _from_scratch(stage, index, lowering.platform, lowering)
    if context is not None and context.is_target:
        return _from_target(stage, index, platform, (lowering, context))
    if context is not None and not context.image:
        return _from_files(stage, index, platform, (lowering, context))
    reference = start.base if context is None else context.image
    state = _from_image(stage, index, platform, (lowering, reference))
    if state.base is not None and context is None:
        lowering.lint.base_platform(stage, start.base, platform, state.base.config.platform)
    return state


def _number_steps(
    state: StageState, instructions: tuple[Instruction, ...], lowering: Lowering
) -> None:
    """Number the steps: the base, if it is fetched, and each instruction that makes a layer."""
    is_fetched = state.base is not None
    state.steps = int(is_fetched) + sum(isinstance(each, _STEPS) for each in instructions)
    options = lowering.options
    state.ignore_cache = options.no_cache or state.stage.name in options.no_cache_stages
    if state.base is not None:
        prefix = lowering.prefix(state, {})
        shown = state.step_name(f"FROM {state.base.pinned}", prefix)
        state.vertex = lowering.add_image(state.base, state.platform, state.stage.location, shown)


def from_expansions(stage: Stage, lowering: Lowering) -> tuple[Expansion, ...]:
    """Return what becomes of the words behind FROM. Raises DockerfileError."""
    return tuple(_expansion(text, stage, lowering) for text in (stage.base, stage.platform) if text)


def _expansion(text: str, stage: Stage, lowering: Lowering) -> Expansion:
    return expansion(text, lowering.global_args, escape=lowering.escape, place=stage.location)


def _from_scratch(stage: Stage, index: int, platform: Platform, lowering: Lowering) -> StageState:
    config = ImageConfig(platform=platform, run=RunConfig(working_dir="/"))
    nothing = lowering.maker.add(ScratchOp())
    return StageState(stage=stage, index=index, platform=platform, vertex=nothing, config=config)


def _from_files(
    stage: Stage, index: int, platform: Platform, named: tuple[Lowering, NamedContext]
) -> StageState:
    """Start from the content of a named context that is no image."""
    lowering, context = named
    state = _from_scratch(stage, index, platform, lowering)
    copied = CopyAction(input=1, sources=("/",), destination="/", keep_owner=False)
    state.vertex = lowering.maker.add(
        FileOp(actions=(copied,)),
        (state.vertex, lowering.named(context)),
        name=f"[context {context.key}] load from client",
        location=stage.location,
        platform_name=str(platform),
    )
    return state


def _from_target(
    stage: Stage, index: int, platform: Platform, named: tuple[Lowering, NamedContext]
) -> StageState:
    """Start from the result of another build, as from its image: only that there is nothing to fetch."""
    lowering, context = named
    linked = lowering.linked(context, platform)
    return StageState(
        stage=stage,
        index=index,
        platform=platform,
        vertex=linked.vertex,
        config=inherited(linked.config),
        history=list(linked.config.history),
    )


def _from_image(
    stage: Stage, index: int, platform: Platform, source: tuple[Lowering, str]
) -> StageState:
    lowering, reference = source
    base = lowering.resolve(reference, platform, stage.location)
    # The vertex is added when the steps are numbered; an image without layers is like scratch.
    nothing = lowering.maker.add(ScratchOp())
    state = StageState(
        stage=stage, index=index, platform=platform, vertex=nothing, config=inherited(base.config)
    )
    state.base = base if base.diff_ids else None
    state.is_windows = has_windows_layers(base)
    state.history = list(base.config.history)
    return state


def _triggers(state: StageState, stage: Stage) -> tuple[Instruction, ...]:
    """Take the ONBUILD triggers of the base out of its config, as instructions."""
    texts = state.run.on_build
    state.change(on_build=())
    return tuple(parse_trigger(text, stage.location) for text in texts)
