"""What there is to torment with; `short` and `long` are numbers of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.torture.clocks import clocks
from tools.torture.contexts import contexts
from tools.torture.crowd import crowd
from tools.torture.disks import disks
from tools.torture.kills import kills
from tools.torture.scene import Scene
from tools.torture.stores import stores
from tools.torture.tally import Tally

__all__ = ["AREAS", "Area"]


@dataclass(frozen=True)
class Area:
    """One way to torment a store; `torment` is given how many events are wanted."""

    torment: Callable[[Scene, Tally, int], None]
    short: int
    long: int


AREAS = {
    "kills": Area(kills, 4, 1000),
    "disks": Area(disks, 2, 200),
    "crowd": Area(crowd, 1, 36),
    "clocks": Area(clocks, 1, 60),
    "stores": Area(stores, 1, 6),
    "contexts": Area(contexts, 1, 100),
}
