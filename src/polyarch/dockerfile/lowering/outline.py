"""What a target takes from outside: build arguments, secrets, agents, caches; and which targets there are.

Only what the target and the stages below it use is told; descriptions are those of comments above. The
behaviour is that of BuildKit's `dockerfile2llb/outline.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from polyarch.dockerfile.args import platform_args
from polyarch.dockerfile.expand.expand import expansion
from polyarch.dockerfile.lowering.lower import from_expansions, lower_stages
from polyarch.dockerfile.lowering.lowering import BaseImages, Lowering, LowerOptions
from polyarch.dockerfile.lowering.state import Taken
from polyarch.dockerfile.parser import Dockerfile
from polyarch.dockerfile.syntax.instruction import Run, Stage
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import Location
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["Outline", "OutlineArg", "OutlineMount", "outline"]


@frozen
class OutlineArg:
    """A build argument; `value` is what it would have, `description` what a comment says of it."""

    name: str
    value: str
    description: str
    location: Location


@frozen
class OutlineMount:
    """A secret, an agent or a cache, and the first RUN of the stage that mounts it."""

    id: str
    required: bool
    location: Location


_Item = TypeVar("_Item", OutlineArg, OutlineMount)


@frozen
class Outline:
    """What the stage `target` takes, each kind in the order of the lines."""

    target: Stage
    args: tuple[OutlineArg, ...]
    secrets: tuple[OutlineMount, ...]
    agents: tuple[OutlineMount, ...]
    caches: tuple[OutlineMount, ...]


@frozen
class _Global:
    """An ARG before the first FROM, and the arguments that its default holds."""

    arg: OutlineArg
    needs: frozenset[str]


def outline(
    dockerfile: Dockerfile, platform: Platform, *, options: LowerOptions, images: BaseImages
) -> Outline:
    """Find out what the target takes. Raises as `lower`."""
    maker = GraphMaker()
    lowering, target = lower_stages(
        dockerfile, platform, options=options, maker=maker, images=images
    )
    writer = _Writer(lowering, _globals(dockerfile, platform, options))
    writer.add(target)
    return Outline(
        target=dockerfile.stages[target],
        args=_by_line(writer.args.values()),
        secrets=_by_line(writer.secrets.values()),
        agents=_by_line(writer.agents.values()),
        caches=_by_line(writer.caches.values()),
    )


def _by_line(items: Iterable[_Item]) -> tuple[_Item, ...]:
    return tuple(sorted(items, key=lambda item: item.location.start))


def _globals(
    dockerfile: Dockerfile, platform: Platform, options: LowerOptions
) -> dict[str, _Global]:
    """Return the ARGs before the first FROM with the values that they have."""
    build_args = options.build_args
    stage_name = options.target or dockerfile.stages[-1].name
    defaults = platform_args(platform, options.build_platform, stage=stage_name)
    scope = {name: build_args.get(name, value) for name, value in defaults.items()}
    found: dict[str, _Global] = {}
    for arg in dockerfile.global_args:
        for definition in arg.definitions:
            name, needs = definition.name, frozenset[str]()
            if name in build_args:
                scope[name] = build_args[name]
            elif definition.default is not None:
                read = expansion(
                    definition.default, scope, escape=dockerfile.escape, place=arg.location
                )
                scope[name], needs = read.text, read.matched - {name}
                if name in read.matched and name in found:
                    needs |= found[name].needs
            shown = OutlineArg(
                name=name,
                value=scope.get(name, ""),
                description=definition.comment,
                location=arg.location,
            )
            found[name] = _Global(arg=shown, needs=needs)
    return found


class _Writer:
    """Gathers what stages take; of two things with one name the one nearer to the target counts."""

    def __init__(self, lowering: Lowering, known: Mapping[str, _Global]) -> None:
        self.args: dict[str, OutlineArg] = {}
        self.secrets: dict[str, OutlineMount] = {}
        self.agents: dict[str, OutlineMount] = {}
        self.caches: dict[str, OutlineMount] = {}
        self._lowering = lowering
        self._known = known

    def add(self, target: int) -> None:
        """Add a stage, and then those that it is made from."""
        done: set[int] = set()
        # A stack of our own: a file may have more stages than Python allows calls within calls.
        waiting = [target]
        while waiting:
            index = waiting.pop()
            if index in done:
                continue
            done.add(index)
            taken = self._lowering.stage(index).taken
            self._add_args(self._lowering.written[index], taken)
            _add_mounts(self.secrets, taken.secrets)
            _add_mounts(self.agents, taken.agents)
            _add_mounts(self.caches, taken.caches)
            parent = () if taken.parent is None else (taken.parent,)
            waiting += reversed((*parent, *taken.stages))

    def _add_args(self, stage: Stage, taken: Taken) -> None:
        used = dict.fromkeys((*taken.args, *taken.inherited))
        for found in from_expansions(stage, self._lowering):
            used.update(dict.fromkeys(sorted(found.matched)))
        waiting = list(used)
        while waiting:
            name = waiting.pop()
            if name in self._known and name not in taken.args:
                needs = self._known[name].needs - used.keys()
                waiting += needs
                used.update(dict.fromkeys(sorted(needs)))
        for name in used:
            if name in taken.args:
                declared = taken.args[name]
                shown = OutlineArg(
                    name=name,
                    value=declared.value,
                    description=declared.definition.comment,
                    location=declared.instruction.location,
                )
                self.args.setdefault(name, shown)
            elif name in self._known:
                self.args.setdefault(name, self._known[name].arg)


def _add_mounts(mounts: dict[str, OutlineMount], taken: Mapping[str, tuple[Run, bool]]) -> None:
    for identifier, (run, required) in taken.items():
        mount = OutlineMount(id=identifier, required=required, location=run.location)
        mounts.setdefault(identifier, mount)
