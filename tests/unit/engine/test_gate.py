"""The gate of a solve: which steps it refuses, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from polyarch.digest import Digest
from polyarch.engine.gate import EmulatorGate
from polyarch.errors import NoEmulator
from polyarch.graph.graph import Graph
from polyarch.graph.op import ExecOp, ScratchOp
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.platforms import Platform, parse


class NoEmulators:
    """A machine that emulates riscv64 only, and counts how often it is asked; what `offered` has can be fetched."""

    def __init__(self) -> None:
        self.asked = 0
        self.here = {"riscv64"}
        self.offered: set[str] = set()
        self.fetched: list[tuple[str, ...]] = []

    def unrunnable(self, platforms: Iterable[Platform], /) -> list[Platform]:
        self.asked += 1
        return [each for each in platforms if each.architecture not in self.here]

    def fetch(self, platforms: Iterable[Platform], /) -> list[Platform]:
        wanted = list(platforms)
        self.fetched.append(tuple(each.architecture for each in wanted))
        self.here |= self.offered
        return [each for each in wanted if each.architecture not in self.here]

    def no_emulator(self, platforms: Sequence[Platform], /) -> NoEmulator:
        return NoEmulator(", ".join(map(str, platforms)))


def step(architecture: str, command: str = "true", *, ignore_cache: bool = False) -> Vertex:
    platform = parse(f"linux/{architecture}")
    op = ExecOp(argv=(command,), env=(), cwd="/", user="", platform=platform)
    return make_vertex(op, (make_vertex(ScratchOp()),), name=command, ignore_cache=ignore_cache)


def gate(*targets: Vertex, known: tuple[Vertex, ...] = ()) -> tuple[EmulatorGate, NoEmulators]:
    """Return the gate of a graph of which some steps have run before, on an amd64 machine."""
    emulators = NoEmulators()
    ops: set[Digest] = {vertex.cache_digest for vertex in known}
    made = EmulatorGate(
        Graph(targets=targets),
        is_native=lambda platform: platform.architecture == "amd64",
        foreign=lambda: emulators,
        knows=ops.__contains__,
    )
    return made, emulators


def test_native_steps_ask_nobody() -> None:
    passes, emulators = gate(step("amd64"))

    passes([])
    assert emulators.asked == 0


def test_all_platforms_are_refused_at_once_whatever_runs_first() -> None:
    native = step("amd64")
    refuses, _ = gate(native, step("arm64"), step("s390x"), step("arm64", "more"), step("riscv64"))

    with pytest.raises(NoEmulator, match=r"^linux/arm64, linux/s390x$"):
        refuses([native])


def test_what_has_run_before_is_refused_once_it_is_certain_to_run() -> None:
    native, foreign = step("amd64"), step("arm64")
    refuses, emulators = gate(native, foreign, known=(foreign,))
    refuses([native])

    with pytest.raises(NoEmulator, match=r"^linux/arm64$"):
        refuses([foreign])
    assert emulators.asked == 1


def test_nothing_is_left_to_the_cache_that_is_not_asked() -> None:
    foreign = step("arm64", ignore_cache=True)
    refuses, _ = gate(foreign, known=(foreign,))

    with pytest.raises(NoEmulator):
        refuses([])


def test_what_can_be_fetched_is_fetched_once() -> None:
    first, second = step("arm64"), step("s390x", "later")
    passes, emulators = gate(first, second, known=(second,))
    emulators.offered = {"arm64", "s390x"}

    passes([])
    passes([second])

    assert emulators.fetched == [("arm64",)]


def test_only_what_can_not_be_fetched_either_is_refused() -> None:
    refuses, emulators = gate(step("arm64"), step("s390x"))
    emulators.offered = {"arm64"}

    with pytest.raises(NoEmulator, match=r"^linux/s390x$"):
        refuses([])


def test_nothing_is_fetched_for_what_may_be_cached() -> None:
    foreign = step("arm64")
    passes, emulators = gate(step("amd64"), foreign, known=(foreign,))

    passes([])
    assert emulators.fetched == []
