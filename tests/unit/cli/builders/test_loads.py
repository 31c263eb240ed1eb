"""Which builders load what has no output."""

from __future__ import annotations

import pytest

from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.cli.builders.loads import loads_by_default
from polyarch.errors import InputError


def builder(driver: str, *values: str | None) -> SavedBuilder:
    """Return a builder with a daemon for each value of the option; None is this machine."""
    nodes = [
        BuilderNode(name=f"n{number}")
        if value is None
        else BuilderNode(
            name=f"n{number}",
            endpoint="tcp://h:1",
            driver_opts={"default-load": value} if value else {},
        )
        for number, value in enumerate(values)
    ]
    return SavedBuilder(name="b", driver=driver, nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("made", "loads"),
    [
        (builder("remote", "true"), True),
        (builder("docker-container", "1", "false"), True),
        (builder("remote", None, "true"), True),
        (builder("kubernetes", "true"), True),
        (builder("remote", "false"), False),
        (builder("remote", ""), False),
        (builder("remote", None), False),
        (builder("docker", "true"), False),
        (builder("polyarch", None), False),
    ],
)
def test_the_first_daemon_decides(made: SavedBuilder, loads: bool) -> None:
    assert loads_by_default(made, {}) is loads
    assert not loads_by_default(made, {"BUILDX_NO_DEFAULT_LOAD": "1"})


def test_what_is_no_truth_value() -> None:
    with pytest.raises(InputError, match="default-load"):
        loads_by_default(builder("remote", "perhaps"), {})
