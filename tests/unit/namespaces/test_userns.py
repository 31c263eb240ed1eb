"""The parts of entering namespaces that can be had without entering any."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch import syscalls
from polyarch.errors import InternalError
from polyarch.namespaces import userns
from polyarch.namespaces.userns import (
    IdRange,
    enter_engine,
    needs_user_namespace,
    parse_subids,
)
from tests.support.machine.namespaces import in_mount_namespace, in_user_namespace

RANGES = st.lists(
    st.tuples(st.sampled_from(["a", "b", "1000"]), st.integers(0, 2**32), st.integers(0, 2**17)),
    max_size=5,
)


@given(ranges=RANGES)
def test_ranges_of_a_user_by_name_and_number(ranges: list[tuple[str, int, int]]) -> None:
    text = "".join(f"{name}:{start}:{count}\n" for name, start, count in ranges)

    assert parse_subids(text, ["a", "1000"]) == tuple(
        IdRange(start=start, count=count)
        for name, start, count in ranges
        if name in {"a", "1000"} and count
    )


@given(text=st.text("a:0123456789-²٣ \n", max_size=60) | st.text(max_size=20))
def test_whatever_the_file_says_the_ranges_are_ranges(text: str) -> None:
    assert all(each.start >= 0 and each.count > 0 for each in parse_subids(text, ["a", ""]))


@pytest.mark.parametrize(
    "line",
    ["", "# a:1:2", "a", "a:1", "a:1:2:3", "a:-1:2", "a:1:x", "a:1:0", "a::5", "A:1:2", "a:²:5"],
)
def test_lines_that_give_nothing(line: str) -> None:
    assert parse_subids(f"{line}\na:5:6\n", ["a"]) == (IdRange(start=5, count=6),)


@given(
    own=st.integers(0, 2**31),
    ranges=st.lists(
        st.builds(IdRange, start=st.integers(0, 2**31), count=st.integers(1, 2**16)), max_size=4
    ),
)
def test_a_mapping_numbers_all_ids_without_gaps(own: int, ranges: list[IdRange]) -> None:
    words = list(map(int, userns._mapping(own, ranges)))
    triples = [tuple(words[place : place + 3]) for place in range(0, len(words), 3)]

    assert triples[0] == (0, own, 1)
    inside = 0
    for first, _, count in triples:
        assert first == inside
        inside += count
    assert [(start, count) for _, start, count in triples[1:]] == [
        (each.start, each.count) for each in ranges
    ]


def test_with_threads_nothing_is_entered() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pytest.raises(InternalError, match=r"^namespaces can't be entered once there are"):
            enter_engine()
    finally:
        end.set()
        thread.join()


@pytest.mark.root
def test_root_of_the_machine_needs_none_unless_it_has_lost_its_capabilities() -> None:
    assert needs_user_namespace() is not syscalls.in_initial_user_namespace()

    def check() -> None:
        syscalls.capset(1, 1, 0)
        assert needs_user_namespace()

    in_mount_namespace(check)


def test_root_of_another_namespace_needs_one() -> None:
    def check() -> None:
        assert needs_user_namespace()
        assert userns.count_ids() == 1

    in_user_namespace(check)
