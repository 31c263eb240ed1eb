"""Limits as the two kinds of hierarchies want them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.request.limits import Resources
from polyarch.runtime.cgroup import (
    Cgroup,
    cgroup_name,
    hold_cgroup,
    make_cgroup,
    remove_stale,
    settings_v1,
    settings_v2,
)
from polyarch.runtime.step import Host, Step

STEP = Step(argv=("true",), rootfs="/r")
AMOUNTS = st.just(0) | st.integers(1, 2**40)
RESOURCES = st.builds(
    Resources,
    memory=AMOUNTS,
    memory_swap=AMOUNTS | st.just(-1),
    cpu_shares=st.integers(0, 300_000),
    cpu_period=st.just(0) | st.integers(1000, 1_000_000),
    cpu_quota=st.just(0) | st.integers(1000, 1_000_000) | st.just(-1),
    cpuset_cpus=st.sampled_from(["", "0", "0-3,5"]),
    cpuset_mems=st.sampled_from(["", "0"]),
)


@pytest.mark.parametrize(
    ("resources", "second", "first"),
    [
        (Resources(), {}, {}),
        (
            Resources(memory=100, memory_swap=150),
            {"memory.max": "100", "memory.swap.max": "50"},
            {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "150"},
        ),
        (
            Resources(memory=100, memory_swap=-1),
            {"memory.max": "100", "memory.swap.max": "max"},
            {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "-1"},
        ),
        (
            Resources(cpu_shares=1024),
            {"cpu.weight": "39"},
            {"cpu.shares": "1024"},
        ),
        (
            Resources(cpu_quota=50_000),
            {"cpu.max": "50000 100000"},
            {"cpu.cfs_quota_us": "50000"},
        ),
        (
            Resources(cpu_quota=-1, cpu_period=20_000),
            {"cpu.max": "max 20000"},
            {"cpu.cfs_period_us": "20000", "cpu.cfs_quota_us": "-1"},
        ),
        (
            Resources(cpuset_cpus="0-1", cpuset_mems="0"),
            {"cpuset.cpus": "0-1", "cpuset.mems": "0"},
            {"cpuset.cpus": "0-1", "cpuset.mems": "0"},
        ),
    ],
    ids=str,
)
def test_settings(resources: Resources, second: dict[str, str], first: dict[str, str]) -> None:
    assert (settings_v2(resources), settings_v1(resources)) == (second, first)


@given(resources=RESOURCES)
def test_settings_are_what_the_kernel_can_read(resources: Resources) -> None:
    for name, value in settings_v2(resources).items():
        if name == "cpu.max":
            quota, period = value.split()
            assert quota == "max" or int(quota) > 0
            assert int(period) > 0
        elif name == "cpu.weight":
            assert 1 <= int(value) <= 10_000
        elif name.startswith("memory."):
            assert value == "max" or int(value) >= 0
    names = list(settings_v1(resources))
    # The kernel refuses a limit of both that is below that of memory alone.
    assert names == sorted(names, key=["memory.limit_in_bytes", *names].index)


@given(shares=st.lists(st.integers(1, 300_000), min_size=2, max_size=5))
def test_weights_keep_the_order_of_shares(shares: list[int]) -> None:
    weights = [
        int(settings_v2(Resources(cpu_shares=each))["cpu.weight"]) for each in sorted(shares)
    ]

    assert weights == sorted(weights)


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (262_144, 10_000), (999_999, 10_000)]
)
def test_the_ends_of_the_scale(shares: int, weight: int) -> None:
    assert settings_v2(Resources(cpu_shares=shares)) == {"cpu.weight": str(weight)}


def test_names_are_new_and_below_the_parent() -> None:
    names = [cgroup_name(STEP) for _ in range(3)]
    below = cgroup_name(Step(argv=("true",), rootfs="/r", cgroup_parent="/my/parent/"))

    assert len(set(names)) == 3
    assert all(name.startswith("/buildkit/polyarch-") for name in names)
    assert below.startswith("/my/parent/buildkit/polyarch-")


def test_a_step_without_limits_needs_none() -> None:
    with make_cgroup(STEP, Host(rootless=False)) as cgroup:
        assert cgroup == Cgroup(directories=())
        assert not cgroup.out_of_memory()


@pytest.mark.parametrize(
    ("name", "text", "killed"),
    [
        ("memory.events", "low 0\nmax 3\noom 1\noom_kill 2\n", True),
        ("memory.events", "oom 1\noom_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("other", "oom_kill 1\n", False),
    ],
)
def test_what_the_kernel_killed_is_known(
    tmp_path: Path, name: str, text: str, killed: bool
) -> None:
    (tmp_path / name).write_text(text)

    assert Cgroup(directories=("/no/such", str(tmp_path))).out_of_memory() is killed


def test_old_empty_groups_of_ours_are_removed(tmp_path: Path) -> None:
    for name in ("polyarch-old", "polyarch-new", "polyarch-used/child", "others"):
        (tmp_path / name).mkdir(parents=True)
    long_ago = time.time() - 3600
    for name in ("polyarch-old", "polyarch-used", "others"):
        os.utime(tmp_path / name, (long_ago, long_ago))

    remove_stale(str(tmp_path))
    remove_stale(str(tmp_path / "none"))

    assert sorted(os.listdir(tmp_path)) == ["others", "polyarch-new", "polyarch-used"]


def test_a_group_that_is_held_stays_however_long_it_is_empty(tmp_path: Path) -> None:
    directory = tmp_path / "polyarch-held"
    directory.mkdir()
    held = hold_cgroup(str(directory))
    os.utime(directory, (0, 0))

    remove_stale(str(tmp_path))
    assert directory.exists()

    os.close(held)
    remove_stale(str(tmp_path))
    assert not directory.exists()


@pytest.mark.root
def test_a_group_lasts_as_long_as_its_step() -> None:
    step = Step(argv=("true",), rootfs="/r", resources=Resources(memory=64 << 20))
    is_unified = not os.path.isdir("/sys/fs/cgroup/memory")

    with make_cgroup(step, Host(rootless=False, cgroup2=is_unified)) as cgroup:
        there = [os.path.isdir(directory) for directory in cgroup.directories]
        name = "memory.max" if is_unified else "memory.limit_in_bytes"
        files = [
            path for directory in cgroup.directories if (path := Path(directory, name)).exists()
        ]
        limits = [path.read_text() for path in files]

    assert there == [True] * len(there)
    assert limits == [f"{64 << 20}\n"]
    assert not any(os.path.isdir(directory) for directory in cgroup.directories)
