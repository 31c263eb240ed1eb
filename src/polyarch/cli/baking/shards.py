"""`bake --shard PLATFORMS`: of each target a part, for `bake --join` to make a whole of it (`joining.py`).

Parts are what `build --shard` makes: a layout in `DIRECTORY/TARGET`, or an image that is pushed by its digest alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from polyarch.bakefile.config import Plan
from polyarch.bakefile.entries import Export
from polyarch.bakefile.target import Target
from polyarch.errors import InputError
from polyarch.platforms import Platform, host, parse_list
from polyarch.record import replace
from polyarch.request.values import OutputType

__all__ = ["sharded"]


def sharded(plan: Plan, platforms: Sequence[str], directory: str) -> Plan:
    """Return the plan of one shard: targets for these platforms only, as parts below `directory`, or pushed.

    Those that others are built on are for this machine's platform, too, if they were: steps may run on it. Raises InputError if
    nothing is left.
    """
    wanted = parse_list(platforms)
    found: dict[str, Target] = {}
    for name, target in plan.targets.items():
        mine = parse_list(target.platforms or (str(host()),))
        kept = [each for each in mine if each in wanted or (target.linked and each == host())]
        if target.linked:
            found[name] = _for_platforms(target, kept or mine)
        elif kept:
            found[name] = _for_platforms(_part(target, directory, name), kept)
    if all(each.linked for each in found.values()):
        there = ",".join(str(each) for each in wanted)
        raise InputError(
            f"no target is built for {there}", hint="--print shows the platforms of each"
        )
    return replace(plan, targets=found)


def _for_platforms(target: Target, platforms: Iterable[Platform]) -> Target:
    return replace(target, platforms=tuple(map(str, platforms)))


def _part(target: Target, directory: str, name: str) -> Target:
    outputs = [each for each in target.output or () if each.type != OutputType.CACHEONLY]
    if directory:
        place = os.path.join(directory, name)
        outputs = [Export(type=OutputType.LOCAL, destination=place, attributes={})]
    return replace(target, output=tuple(outputs) or None)
