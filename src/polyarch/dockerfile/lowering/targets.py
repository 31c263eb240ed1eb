"""Target -> the stages that it needs, in the order in which they can be built.

A stage needs its base, if that is an earlier stage, and the stages that COPY and RUN --mount take files
from; those may stand anywhere in the file, so that they can form a circle. The last stage of a name has
it. Names of stages are in lower case: COPY, RUN --mount and --target find them however they are written,
FROM only as they are, since a name with capitals could be no image either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from polyarch.dockerfile.expand.expand import expand
from polyarch.dockerfile.parser import Dockerfile
from polyarch.dockerfile.syntax.instruction import Copy, Instruction, Run, Stage
from polyarch.dockerfile.syntax.mount import mount_from
from polyarch.errors import DockerfileError, InputError, NotFound
from polyarch.golang.strconv import parse_int, quote
from polyarch.graph.location import Location
from polyarch.progress import check_cancelled
from polyarch.text.nearest import suggestion

__all__ = [
    "check_sources",
    "find_base_stage",
    "find_copy_source",
    "find_stage",
    "find_target",
    "instruction_sources",
    "needed_stages",
    "stage_label",
    "takes_images",
]


def stage_label(stages: Sequence[Stage], index: int) -> str:
    """What messages call a stage: its name, or `stage-0` and so on."""
    return stages[index].name or f"stage-{index}"


def find_target(dockerfile: Dockerfile, target: str = "") -> int:
    """Return the index of the stage that is asked for; the last one if none is.

    Raises NotFound if there is none of the name, DockerfileError if there are no stages.
    """
    stages = dockerfile.stages
    if not stages:
        args = dockerfile.global_args
        raise DockerfileError(
            "dockerfile contains no stages to build",
            hint="a Dockerfile needs a FROM instruction",
            place=args[-1].location if args else None,
        )
    if not target:
        return len(stages) - 1
    index = find_stage(stages, target)
    if index is None:
        names = [stage.name for stage in stages if stage.name]
        hint = f"the Dockerfile has {', '.join(names)}" if names else "no stage has a name"
        near = suggestion(target.lower(), names)
        raise NotFound(f"target stage {quote(target)} could not be found{near}", hint=hint)
    return index


def find_stage(stages: Sequence[Stage], name: str, *, before: int | None = None) -> int | None:
    """Return the index of the last stage of a name, among those before `before` if it is given."""
    check_cancelled()
    wanted = name.lower()
    for index in reversed(range(len(stages) if before is None else before)):
        if wanted and stages[index].name == wanted:
            return index
    return None


def find_base_stage(stages: Sequence[Stage], name: str, *, before: int) -> int | None:
    """Return the index of the last stage before `before` that FROM means by `name`."""
    return find_stage(stages, name, before=before) if name == name.lower() else None


def find_copy_source(stages: Sequence[Stage], copy: Copy) -> int | None:
    """Return the index of the stage that COPY --from means; None for the context or an image.

    Raises DockerfileError for a number that no stage has, and for a variable.
    """
    if copy.from_name and not _is_literal(copy.from_name):
        raise DockerfileError(
            "variable expansion is not supported for --from, define a new stage with FROM using ARG"
            " from global scope as a workaround",
            hint="use the variable in a FROM line of its own, and name that stage",
            place=copy.location,
        )
    try:
        index = parse_int(copy.from_name, bits=64)
    except InputError:
        return find_stage(stages, copy.from_name)
    if not 0 <= index < len(stages):
        raise DockerfileError(
            f"invalid stage index {index}",
            hint=f"the stages are numbered from 0 to {len(stages) - 1}",
            place=copy.location,
        )
    return index


def instruction_sources(stages: Sequence[Stage], instruction: Instruction) -> Iterator[int]:
    """Yield the stages that an instruction takes files from. Raises as `find_copy_source`."""
    if isinstance(instruction, Copy):
        index = find_copy_source(stages, instruction)
        if index is not None:
            yield index
    elif isinstance(instruction, Run):
        for mount in instruction.mounts:
            index = find_stage(stages, mount_from(mount))
            if index is not None:
                yield index


def _is_literal(name: str) -> bool:
    try:
        return expand(name, {}) == name
    except DockerfileError:
        return False


def takes_images(stages: Sequence[Stage]) -> bool:
    """Tell if an instruction takes files from something that is neither a stage nor a copy's context.

    BuildKit counts what mounts come from, so that it names the steps of a single stage, too: a mount
    without `from`, of whatever type, comes from a stage of its own there, which is empty.
    """
    instructions = (each for stage in stages for each in stage.instructions)
    return any(_takes_image(stages, each) for each in instructions)


def _takes_image(stages: Sequence[Stage], instruction: Instruction) -> bool:
    if isinstance(instruction, Copy):
        is_stage = find_copy_source(stages, instruction) is not None
        return bool(instruction.from_name) and not is_stage
    mounts = instruction.mounts if isinstance(instruction, Run) else ()
    return any(find_stage(stages, mount_from(text)) is None for text in mounts)


def check_sources(stages: Sequence[Stage]) -> None:
    """Look at what all stages take files from, those that nobody needs too.

    Raises DockerfileError as `find_copy_source`, and for stages that need each other in a circle.
    """
    bases = [""] * len(stages)
    done: dict[int, None] = {}
    for index in range(len(stages)):
        _walk(stages, index, bases, (), done)


def needed_stages(
    stages: Sequence[Stage],
    target: int,
    bases: Sequence[str],
    *,
    replaced: Collection[int] = (),
    known: Collection[int] = (),
) -> tuple[int, ...]:
    """Return the indexes of the stages that `target` needs, each behind those that it needs itself.

    `bases` are the names behind FROM, expanded, of all stages. `replaced` are the stages that a build
    context of their name stands in for: they need nothing. Those `known` are left out, with all that
    they need.

    Raises DockerfileError for a circle, and as `find_copy_source`.
    """
    done = dict.fromkeys(known)
    _walk(stages, target, bases, replaced, done)
    return tuple(done)[len(known) :]


def _walk(
    stages: Sequence[Stage],
    target: int,
    bases: Sequence[str],
    replaced: Collection[int],
    done: dict[int, None],
) -> None:
    """Add the stages that `target` needs to those that are done."""
    if target in done:
        return
    # A stack of our own: a file may have more stages than Python allows calls within calls.
    path = {target: _needs(stages, target, bases[target], replaced)}
    while path:
        check_cancelled()
        index, needs = next(reversed(path.items()))
        needed, place = next(needs, (None, None))
        if needed is None:
            del path[index]
            done[index] = None
        elif needed in path:
            label = stage_label(stages, needed)
            circle = " -> ".join(stage_label(stages, each) for each in (*path, needed))
            raise DockerfileError(
                f"circular dependency detected on stage: {label}",
                hint=f"each needs the next: {circle[circle.find(label) :]}",
                place=place,
            )
        elif needed not in done:
            path[needed] = _needs(stages, needed, bases[needed], replaced)


def _needs(
    stages: Sequence[Stage], index: int, base: str, replaced: Collection[int]
) -> Iterator[tuple[int, Location]]:
    """Yield the stages that a stage needs, and where it says so."""
    if index in replaced:
        return
    base_stage = find_base_stage(stages, base, before=index)
    if base_stage is not None:
        yield base_stage, stages[index].location
    for instruction in stages[index].instructions:
        for needed in instruction_sources(stages, instruction):
            yield needed, instruction.location
