from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from polyarch.solver.slots import SlotKind, SlotLimits, Slots

EXEC, EMULATED, FILE = SlotKind.EXEC, SlotKind.EMULATED, SlotKind.FILE


def slots(jobs: int = 2, emulated: int = 0, files: int = 1) -> Slots[str]:
    return Slots(SlotLimits(jobs=jobs, emulated=emulated, files=files))


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


def test_a_native_step_never_waits_behind_emulated_ones() -> None:
    it = slots(jobs=0, emulated=2)
    for number in range(4):
        it.offer(f"emulated-{number}", EMULATED)
    started = taken(it)
    it.offer("native", EXEC)

    assert (started, taken(it)) == (["emulated-0", "emulated-1"], ["native"])


def test_jobs_are_native_and_emulated_steps_together() -> None:
    it = slots(jobs=3, emulated=2)
    for number in range(3):
        it.offer(f"emulated-{number}", EMULATED)
    for number in range(2):
        it.offer(f"native-{number}", EXEC)

    assert taken(it) == ["native-0", "native-1", "emulated-0"]


def test_what_is_not_limited_suits_the_machine() -> None:
    cpus = len(os.sched_getaffinity(0))
    limits = SlotLimits()

    assert limits.of(FILE) == limits.of(SlotKind.HASH) == cpus
    assert limits.of(EXEC) >= 32
    assert 1 <= limits.of(EMULATED) <= max(4, 2 * cpus)
    assert [SlotLimits(jobs=jobs).of(EMULATED) for jobs in (1, 1000)] == [1, limits.of(EMULATED)]
    assert SlotLimits(jobs=7).of(EXEC) == 7


@given(work=st.lists(st.sampled_from(SlotKind)), jobs=st.integers(0, 3))
def test_all_work_gets_its_turn_in_order(work: list[SlotKind], jobs: int) -> None:
    limits = SlotLimits(jobs=jobs, emulated=2, files=1, sources=2, hashes=4)
    it: Slots[int] = Slots(limits)
    for number, kind in enumerate(work):
        it.offer(number, kind)
    done: list[int] = []
    while ready := list(iter(it.take, None)):
        done += [number for number, _ in ready]
        kinds = [work[number] for number, _ in ready]
        assert all(kinds.count(kind) <= limits.of(kind) for kind in SlotKind)
        assert not jobs or kinds.count(EXEC) + kinds.count(EMULATED) <= jobs
        for _, give_back in ready:
            give_back()

    assert (sorted(done), it.waiting) == (list(range(len(work))), 0)
    for kind in SlotKind:
        mine = [number for number in done if work[number] is kind]
        assert mine == sorted(mine)
