"""What a node is, whatever machine it is on: a name and the platforms that it builds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from polyarch.platforms import Platform, normalize, rank
from polyarch.record import frozen

__all__ = ["Assignment", "Node", "assign"]


class Node(Protocol):
    """Something that builds for some platforms."""

    @property
    def name(self) -> str:
        """The name, unique within its builder."""

    @property
    def configured(self) -> tuple[Platform, ...]:
        """The platforms that the user says it is for; none if it is for whatever it can build."""

    def platforms(self) -> tuple[Platform, ...]:
        """Find out what it can build, the best first. May take a moment the first time."""


@frozen
class Assignment:
    """Platforms that are built together, on the node at `node` in the list of nodes."""

    node: int
    platforms: tuple[Platform, ...]


def assign(platforms: Iterable[Platform], nodes: Sequence[Node]) -> tuple[Assignment, ...]:
    """Spread platforms over nodes; those of the same node stay together, in the order asked for.

    A node that is configured for exactly a platform gets it. If there is none for some of them, all
    nodes are asked what they can build, and the one that runs the platform best gets it. What nobody
    can build goes to the first node, which says why it can't.
    """
    wanted = tuple(map(normalize, platforms))
    chosen = {each: _find_configured(each, nodes) for each in wanted}
    if None in chosen.values():
        abilities = [(*node.configured, *node.platforms()) for node in nodes]
        for platform, node in chosen.items():
            if node is None:
                chosen[platform] = _find_able(platform, abilities)
    shares: dict[int, list[Platform]] = {}
    for platform, node in chosen.items():
        shares.setdefault(node or 0, []).append(platform)
    return tuple(Assignment(node=node, platforms=tuple(share)) for node, share in shares.items())


def _find_configured(platform: Platform, nodes: Sequence[Node]) -> int | None:
    for number, node in enumerate(nodes):
        if platform in map(normalize, node.configured):
            return number
    return None


def _find_able(platform: Platform, abilities: Sequence[Sequence[Platform]]) -> int | None:
    ranked = [
        (*place, number)
        for number, able in enumerate(abilities)
        for each in able
        if (place := rank(normalize(each), platform)) is not None
    ]
    return min(ranked)[-1] if ranked else None
