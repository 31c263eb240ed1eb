"""Which node gets which platform."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.node.node import assign
from polyarch.platforms import Platform, normalize, parse, rank
from polyarch.record import frozen

WORDS = ["linux/amd64", "linux/386", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/s390x"]


class Asked:
    """Counts how often nodes were asked what they can do."""

    count = 0


@frozen
class FakeNode:
    name: str
    configured: tuple[Platform, ...] = ()
    able: tuple[Platform, ...] = ()
    asked: Asked = Asked()

    def platforms(self) -> tuple[Platform, ...]:
        self.asked.count += 1
        return self.able


def node(configured: str = "", able: str = "", asked: Asked | None = None) -> FakeNode:
    return FakeNode(
        name="n",
        configured=tuple(map(parse, configured.split())),
        able=tuple(map(parse, able.split())),
        asked=asked or Asked(),
    )


def assigned(platforms: str, *nodes: FakeNode) -> list[tuple[int, list[str]]]:
    return [
        (each.node, list(map(str, each.platforms)))
        for each in assign(map(parse, platforms.split()), nodes)
    ]


@pytest.mark.parametrize(
    ("platforms", "nodes", "expected"),
    [
        ("linux/amd64", [node()], [(0, ["linux/amd64"])]),
        (
            "linux/amd64 linux/arm64",
            [node("linux/amd64"), node("linux/arm64/v8")],
            [(0, ["linux/amd64"]), (1, ["linux/arm64"])],
        ),
        (
            "linux/arm64 linux/amd64 linux/arm/v7",
            [node("linux/amd64", "linux/amd64 linux/arm/v7"), node("linux/arm64")],
            [(1, ["linux/arm64"]), (0, ["linux/amd64", "linux/arm/v7"])],
        ),
        (
            "linux/arm/v6",
            [node(able="linux/amd64"), node(able="linux/arm/v7")],
            [(1, ["linux/arm/v6"])],
        ),
        ("linux/s390x", [node("linux/amd64"), node("linux/arm64")], [(0, ["linux/s390x"])]),
        ("linux/arm64 linux/arm64/v8", [node()], [(0, ["linux/arm64"])]),
    ],
)
def test_who_gets_what(
    platforms: str, nodes: list[FakeNode], expected: list[tuple[int, list[str]]]
) -> None:
    assert assigned(platforms, *nodes) == expected


def test_nobody_is_asked_if_all_is_configured() -> None:
    asked = Asked()
    assigned("linux/amd64 linux/arm64", node("linux/amd64", asked=asked), node("linux/arm64"))
    before = asked.count
    assigned("linux/amd64 linux/s390x", node("linux/amd64", asked=asked), node("linux/arm64"))

    assert (before, asked.count) == (0, 1)


PLATFORMS = st.lists(st.sampled_from(WORDS).map(parse), max_size=4)
NODES = st.lists(
    st.builds(
        FakeNode,
        name=st.just("n"),
        configured=PLATFORMS.map(tuple),
        able=PLATFORMS.map(tuple),
    ),
    min_size=1,
    max_size=3,
)


@given(platforms=PLATFORMS, nodes=NODES)
def test_every_platform_goes_to_one_node_that_can(
    platforms: list[Platform], nodes: list[FakeNode]
) -> None:
    shares = assign(platforms, nodes)
    placed = {platform: share.node for share in shares for platform in share.platforms}

    assert sum(len(share.platforms) for share in shares) == len(placed)
    assert list(placed) == sorted(placed, key=list(placed).index)
    assert set(placed) == set(map(normalize, platforms))
    assert len({share.node for share in shares}) == len(shares)
    for platform, chosen in placed.items():
        able = [
            number
            for number, each in enumerate(nodes)
            if any(rank(have, platform) is not None for have in (*each.configured, *each.able))
        ]
        assert chosen in (able or [0])
        configured = [number for number, each in enumerate(nodes) if platform in each.configured]
        assert not configured or chosen == configured[0]
