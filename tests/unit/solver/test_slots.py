from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from polyarch.solver.slots import SlotKind, SlotLimits, Slots

EXEC, FILE = SlotKind.EXEC, SlotKind.FILE


def slots(jobs: int = 2, files: int = 1) -> Slots[str]:
    return Slots(SlotLimits(jobs=jobs, files=files))


def taken(it: Slots[str]) -> list[str]:
    return [work for work, _ in iter(it.take, None)]


def test_work_starts_as_long_as_there_is_room() -> None:
    it = slots()
    for name in "abc":
        it.offer(name, EXEC)

    assert taken(it) == ["a", "b"]
    assert it.waiting == 1


def test_kinds_do_not_wait_for_each_other() -> None:
    it = slots(jobs=1)
    for kind in EXEC, FILE:
        it.offer(f"{kind}-1", kind)
        it.offer(f"{kind}-2", kind)

    assert taken(it) == ["exec-1", "file-1"]


def test_slot_given_back_is_taken_again() -> None:
    it = slots(jobs=1)
    it.offer("a", EXEC)
    it.offer("b", EXEC)
    first = it.take()
    assert first is not None
    assert it.take() is None
    first[1]()

    assert taken(it) == ["b"]


def test_heavy_work_is_not_overtaken() -> None:
    it = slots(jobs=2)
    it.offer("light", EXEC)
    it.offer("heavy", EXEC, weight=2)
    it.offer("late", EXEC)

    assert taken(it) == ["light"]


def test_work_heavier_than_all_takes_all() -> None:
    it = slots(jobs=2)
    it.offer("heavy", EXEC, weight=100)
    it.offer("late", EXEC)

    assert taken(it) == ["heavy"]


def test_unset_limits_are_one_per_cpu() -> None:
    assert SlotLimits().of(EXEC) == len(os.sched_getaffinity(0))
    assert SlotLimits(jobs=7).of(EXEC) == 7


@given(work=st.lists(st.tuples(st.sampled_from(SlotKind), st.integers(0, 9))))
def test_all_work_gets_its_turn_in_order(work: list[tuple[SlotKind, int]]) -> None:
    it: Slots[int] = Slots(SlotLimits(jobs=3, files=1, sources=2, hashes=4))
    for number, (kind, weight) in enumerate(work):
        it.offer(number, kind, weight)
    done: list[int] = []
    while (ready := it.take()) is not None:
        done.append(ready[0])
        ready[1]()

    assert sorted(done) == list(range(len(work)))
    for kind in SlotKind:
        mine = [number for number in done if work[number][0] is kind]
        assert mine == sorted(mine)
