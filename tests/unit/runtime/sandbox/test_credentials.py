"""Who processes say they are: the rules of setuid and its kin, against the kernel's own."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch import syscalls
from polyarch.runtime.sandbox.credentials import Credentials, Ids, changed

NUMBERS = st.sampled_from([-1, 0, 1000, 1001, 1002])
CALLS: dict[str, Callable[..., None]] = {
    "setuid": os.setuid,
    "setreuid": os.setreuid,
    "setresuid": os.setresuid,
}
WORDS = {"setuid": 1, "setreuid": 2, "setresuid": 3}
STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(CALLS)), NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5
)


def by_the_kernel(steps: list[tuple[str, int, int, int]]) -> list[tuple[bool, tuple[int, ...]]]:
    """Make the calls in a child; return whether each worked, and the ids after it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            syscalls.prctl(28, 0)  # PR_SET_SECUREBITS: what a process of root has
            for name, *ids in steps:
                try:
                    CALLS[name](*ids[: WORDS[name]])
                    worked = 1
                except OSError:
                    worked = 0
                found = " ".join(map(str, os.getresuid()))
                os.write(writer, f"{worked} {found}\n".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="ascii") as file:
        rows = [[int(word) for word in line.split()] for line in file]
    os.waitpid(child, 0)
    return [(bool(row[0]), tuple(row[1:])) for row in rows]


@pytest.mark.root
@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_users_change_as_the_kernel_has_it(steps: list[tuple[str, int, int, int]]) -> None:
    who, found = Credentials(), []
    for name, *ids in steps:
        try:
            who = changed(who, name, ids)
            worked = True
        except OSError:
            worked = False
        found.append((worked, tuple(who.uids[:3])))

    assert found == by_the_kernel(steps)


def test_groups_change_by_the_same_rules() -> None:
    who = changed(changed(Credentials(), "setresgid", [5, 5, 5]), "setuid", [1000])

    assert (who.gids, who.uids) == (Ids(5, 5, 5, 5), Ids(1000, 1000, 1000, 1000))
    with pytest.raises(PermissionError):
        changed(who, "setgid", [0])


def test_the_id_for_files_is_set_alone_and_tells_of_no_error() -> None:
    who = changed(Credentials(), "setfsuid", [7])
    other = changed(changed(who, "setuid", [7]), "setfsuid", [8])

    assert who.uids == Ids(0, 0, 0, 7)
    assert other.uids.files == 7
