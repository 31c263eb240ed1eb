from __future__ import annotations

from collections.abc import Callable

import pytest

from polyarch.cli.building.limits import resource_flag, size_flag, ulimit_flag
from polyarch.errors import InputError
from polyarch.request.limits import Resources, Ulimit


def test_ulimit_is_sorted_and_later_values_win() -> None:
    assert ulimit_flag(["nproc=1", "core=5:-1", "nproc=2:3"]) == (
        Ulimit(name="core", soft=5, hard=-1),
        Ulimit(name="nproc", soft=2, hard=3),
    )


def test_resource() -> None:
    values = [" memory = 1g ", "memory-swap=-1", "cpu-quota=5", "cpuset-cpus=0-3"]

    assert resource_flag(values) == Resources(
        memory=1 << 30, memory_swap=-1, cpu_quota=5, cpuset_cpus="0-3"
    )


def test_size() -> None:
    assert size_flag("64m") == 64 << 20


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        (ulimit_flag, "nofile", "invalid ulimit argument: nofile"),
        (ulimit_flag, "as=1", "invalid ulimit type: as"),
        (
            ulimit_flag,
            "core=1:2:3",
            "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
        ),
        (
            ulimit_flag,
            "core=-1:5",
            (
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited),"
                " hard: 5"
            ),
        ),
        (
            ulimit_flag,
            "core=6:5",
            "ulimit soft limit must be less than or equal to hard limit: 6 > 5",
        ),
        (resource_flag, "memory", 'invalid resource "memory", expected key=value'),
        (resource_flag, "foo=1", 'unknown resource "foo"'),
        (resource_flag, "memory=x", "invalid value \"x\" for resource memory: invalid size: 'x'"),
    ],
)
def test_refused(flag: Callable[[list[str]], object], value: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        flag([value])

    assert str(raised.value) == message
