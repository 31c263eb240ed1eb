"""What an image starts, looked at after a build: its ENTRYPOINT or CMD, against the platform that its manifest claims.

A program for another machine, or without its loader, shows itself only where the image runs, which may be far
away. It is told in the form of the build checks, and silenced as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyarch.dockerfile.lint.linter import Finding, Linter
from polyarch.dockerfile.lint.rules import PROGRAM_OF_ANOTHER_PLATFORM
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.targets import find_target
from polyarch.dockerfile.parser import Dockerfile
from polyarch.dockerfile.syntax.instruction import Cmd, Entrypoint, Instruction, Stage
from polyarch.emulation.program import Surroundings, Trouble, find_trouble
from polyarch.engine.engine import Engine
from polyarch.oci.base import DEFAULT_PATH
from polyarch.oci.config import RunConfig
from polyarch.snapshot.stack import LayerStack
from polyarch.worker.source_image import ImageSource

__all__ = ["check_programs"]


def check_programs(
    engine: Engine,
    images: ImageSource,
    results: Sequence[tuple[Lowered, LayerStack]],
    place: tuple[Dockerfile, str],
    lint: Linter,
) -> tuple[Finding, ...]:
    """Return what is wrong with the programs that images start; `place` is the Dockerfile and the target's name.

    Nothing is fetched for it: what no step has read isn't looked at.
    """
    if lint.options.skips(PROGRAM_OF_ANOTHER_PLATFORM):
        return ()
    known = len(lint.findings)
    for lowered, stack in results:
        if not _argv(lowered.config.run) or not images.is_unpacked(stack):
            continue
        trouble = _trouble(engine, lowered, stack)
        if trouble is not None:
            where = _written(*place)
            shown = " ".join(_argv(lowered.config.run))
            detail = f"{shown!r} doesn't start on {lowered.platform}: {trouble}"
            lint.report(PROGRAM_OF_ANOTHER_PLATFORM, detail, where.location, where.comments)
    return tuple(lint.findings[known:])


def _argv(config: RunConfig) -> tuple[str, ...]:
    return config.entrypoint or config.cmd


def _trouble(engine: Engine, lowered: Lowered, stack: LayerStack) -> Trouble | None:
    config = lowered.config.run
    path = next((each[5:] for each in config.env if each.startswith("PATH=")), DEFAULT_PATH)
    with engine.snapshotter.view(stack.snapshots) as root:
        where = Surroundings(
            root=root, platform=lowered.platform, cwd=config.working_dir or "/", path=path
        )
        return find_trouble(_argv(config)[0], where)


def _written(dockerfile: Dockerfile, target: str) -> Instruction | Stage:
    """Return the instruction that says what is started, or the FROM that brings it along."""
    stages = {stage.name: stage for stage in dockerfile.stages if stage.name}
    last = dockerfile.stages[find_target(dockerfile, target)]
    for kind in (Entrypoint, Cmd):
        for stage in _bases(last, stages):
            for instruction in reversed(stage.instructions):
                if isinstance(instruction, kind):
                    return instruction
    return last


def _bases(stage: Stage, stages: dict[str, Stage]) -> Iterator[Stage]:
    """Give a stage and those that it stands on."""
    seen: list[Stage] = []
    found: Stage | None = stage
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        found = stages.get(found.base.lower())
