"""From a Dockerfile and a platform to a graph and an image config.

The whole Dockerfile is lowered once for each platform, into one `GraphMaker`, so that what two
platforms have in common becomes one vertex. Only stages that the target needs are lowered.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from polyarch.dockerfile.args import global_scope, platform_args
from polyarch.dockerfile.context import (
    IMAGE_SCHEME,
    SCRATCH,
    BaseImages,
    Lowering,
    LowerOptions,
)
from polyarch.dockerfile.dispatch import dispatch
from polyarch.dockerfile.expand import Expansion, expand, expansion
from polyarch.dockerfile.instruction import Add, Copy, Instruction, Run, Stage, Workdir
from polyarch.dockerfile.parser import Dockerfile, parse_trigger
from polyarch.dockerfile.stage import DEFAULT_PATH, StageState
from polyarch.dockerfile.stages import find_stage, find_target, needed_stages
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import CopyAction, FileOp, JSONObject, ScratchOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import BaseImage
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, normalize
from polyarch.platforms import parse as parse_platform
from polyarch.record import frozen, replace
from polyarch.text.gotext import suggestion

__all__ = ["Lowered", "from_expansions", "lower", "lower_stages"]

_STEPS = (Add, Copy, Run, Workdir)


@frozen
class Lowered:
    """What a Dockerfile means for one platform.

    `vertex` gives the file system; `config` is the image config without `rootfs` and `history`;
    `history` holds the base image's entries as they are, and new ones that have no time yet. `epoch` is
    the latest time, in seconds, that anything new may have; `is_multi_platform` says that this is one
    of several platforms, or to be kept as if it were.
    """

    platform: Platform
    vertex: Vertex
    config: JSONObject
    history: tuple[JSONObject, ...]
    epoch: int | None = None
    is_multi_platform: bool = False


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
    lowering = Lowering(
        platform=platform,
        options=options,
        maker=maker,
        images=images,
        escape=dockerfile.escape,
        written=stages,
        global_args=global_scope(
            dockerfile.global_args, options.build_args, defaults, escape=dockerfile.escape
        ),
    )
    options.lint.stages(stages)
    _check_defaults(dockerfile, lowering, defaults)
    known = tuple({*defaults, *_declared(dockerfile)})
    bases = [_base_name(stage, lowering, known) for stage in stages]
    target = find_target(dockerfile, options.target)
    replaced = {
        index
        for index, stage in enumerate(stages)
        if stage.name and lowering.find_context(stage.name, platform)
    }
    lowering.lower_stage = lambda index: _lower_stage(index, bases[index], lowering)
    needed: set[int] = set()
    for wanted in range(len(stages)) if options.all_stages else (target,):
        needed.update(needed_stages(stages, wanted, bases, replaced=replaced))
    for index in sorted(needed - replaced):
        lowering.stage(index)
    options.lint.check_failure()
    return lowering, target


def _declared(dockerfile: Dockerfile) -> list[str]:
    return [each.name for arg in dockerfile.global_args for each in arg.definitions]


def _base_name(stage: Stage, lowering: Lowering, known: tuple[str, ...]) -> str:
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
    if stage.platform:
        platform = _expansion(stage.platform, stage, lowering)
        lint.base(stage, platform, known)
        lint.stage_platform(stage, platform, lowering.global_args.get("TARGETPLATFORM", ""))
        _check_platform(stage, platform, lowering)
    return found.text


def _blank_hint(unset: Sequence[str], known: Sequence[str]) -> str:
    for name in unset:
        if name in known:
            return f"give {name} a value: --build-arg {name}=IMAGE, or a default in its ARG"
        return f"no ARG before the first FROM declares {name}{suggestion(name, known)}"
    return ""


def _check_platform(stage: Stage, found: Expansion, lowering: Lowering) -> None:
    near = (suggestion(name, lowering.global_args) for name in sorted(found.unmatched))
    hint = next(filter(None, near), "")
    if not found.text:
        raise DockerfileError(
            f"empty platform value from expression {stage.platform}{hint}", place=stage.location
        )
    try:
        parse_platform(found.text)
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
    config = copy.deepcopy(state.config)
    if lowering.options.labels:
        state = replace(state, config=config)
        state.mapping("Labels").update(lowering.options.labels)
    if lowering.options.is_explicit:
        _set_platform(config, normalize(lowering.platform))
    elif state.stage.platform or "architecture" not in config:
        _set_platform(config, normalize(state.platform))
    return Lowered(
        platform=lowering.platform,
        vertex=state.vertex,
        config=config,
        history=tuple(state.history),
        epoch=lowering.options.epoch,
        is_multi_platform=lowering.options.is_multi_platform,
    )


def _set_platform(config: JSONObject, platform: Platform) -> None:
    config["os"], config["architecture"] = platform.os, platform.architecture
    config.pop("variant", None)
    if platform.variant:
        config["variant"] = platform.variant


def _lower_stage(index: int, name: str, lowering: Lowering) -> StageState:
    stage = lowering.written[index]
    platform = _stage_platform(stage, lowering)
    parent = find_stage(lowering.written, name, before=index)
    context = lowering.find_context(name, platform)
    if name == SCRATCH:
        # Nothing is of no platform: the word in FROM is read, and is for nothing.
        state = _from_scratch(stage, index, lowering.platform, lowering)
    elif parent is not None and not context:
        state = lowering.stage(parent).fork(stage, index)
        state.taken.parent = parent
    elif context and not context.startswith(IMAGE_SCHEME):
        state = _from_folder(stage, index, platform, (lowering, name))
    else:
        reference = context.removeprefix(IMAGE_SCHEME) or name
        state = _from_image(stage, index, platform, (lowering, reference))
        if state.base is not None and not context:
            lowering.lint.base_platform(stage, name, platform, state.base.config)
    instructions = (*_triggers(state, stage), *stage.instructions)
    _number_steps(state, instructions, lowering)
    for instruction in instructions:
        dispatch(state, instruction, lowering)
    return state


def _number_steps(
    state: StageState, instructions: tuple[Instruction, ...], lowering: Lowering
) -> None:
    """Number the steps: the base, if it is fetched, and each instruction that makes a layer."""
    is_fetched = state.base is not None
    state.prefix = lowering.prefix(state.stage, state.index, state.platform)
    state.steps = int(is_fetched) + sum(isinstance(each, _STEPS) for each in instructions)
    options = lowering.options
    stage_name = (state.stage.name or str(state.index)).lower()
    state.ignore_cache = options.no_cache or stage_name in options.no_cache_stages
    if state.base is not None:
        shown = state.step_name(f"FROM {state.base.reference}@{state.base.digest}")
        state.vertex = lowering.add_image(state.base, state.platform, state.stage.location, shown)


def from_expansions(stage: Stage, lowering: Lowering) -> tuple[Expansion, ...]:
    """Return what becomes of the words behind FROM. Raises DockerfileError."""
    return tuple(_expansion(text, stage, lowering) for text in (stage.base, stage.platform) if text)


def _expansion(text: str, stage: Stage, lowering: Lowering) -> Expansion:
    return expansion(text, lowering.global_args, escape=lowering.escape, place=stage.location)


def _stage_platform(stage: Stage, lowering: Lowering) -> Platform:
    if not stage.platform:
        return lowering.platform
    return normalize(parse_platform(_expansion(stage.platform, stage, lowering).text))


def _new_state(
    stage: Stage, index: int, platform: Platform, vertex: Vertex, config: JSONObject
) -> StageState:
    state = StageState(stage=stage, index=index, platform=platform, vertex=vertex, config=config)
    env = state.texts("Env")
    if platform.os != "windows" and not any(entry.partition("=")[0] == "PATH" for entry in env):
        state.run["Env"] = env = [*env, f"PATH={DEFAULT_PATH}"]
    for entry in env:
        name, _, value = entry.partition("=")
        state.variables[name] = value
    return state


def _from_scratch(stage: Stage, index: int, platform: Platform, lowering: Lowering) -> StageState:
    config: JSONObject = {}
    _set_platform(config, normalize(platform))
    state = _new_state(stage, index, platform, lowering.maker.add(ScratchOp()), config)
    state.run["WorkingDir"] = "\\" if platform.os == "windows" else "/"
    return state


def _from_folder(
    stage: Stage, index: int, platform: Platform, context: tuple[Lowering, str]
) -> StageState:
    """Start from the content of a named context that is a folder."""
    lowering, name = context
    state = _from_scratch(stage, index, platform, lowering)
    copied = CopyAction(input=1, sources=("/",), destination="/", keep_owner=False)
    state.vertex = lowering.maker.add(
        FileOp(actions=(copied,)),
        (state.vertex, lowering.local(name)),
        name=f"[context {name}] load from client",
        location=stage.location,
        platform_name=str(platform),
    )
    return state


def _from_image(
    stage: Stage, index: int, platform: Platform, source: tuple[Lowering, str]
) -> StageState:
    lowering, reference = source
    base = lowering.resolve(reference, platform, stage.location)
    # The vertex is added when the steps are numbered; an image without layers is like scratch.
    nothing = lowering.maker.add(ScratchOp())
    state = _new_state(stage, index, platform, nothing, _base_config(base))
    state.base = base if base.diff_ids else None
    history = base.config.get("history")
    if isinstance(history, list):
        state.history = [dict(entry) for entry in history if isinstance(entry, dict)]
    return state


def _base_config(base: BaseImage) -> JSONObject:
    left_out = ("rootfs", "history", "created")
    return {key: copy.deepcopy(value) for key, value in base.config.items() if key not in left_out}


def _triggers(state: StageState, stage: Stage) -> tuple[Instruction, ...]:
    """Take the ONBUILD triggers of the base out of its config, as instructions."""
    texts = state.texts("OnBuild")
    state.run.pop("OnBuild", None)
    return tuple(parse_trigger(text, stage.location) for text in texts)
