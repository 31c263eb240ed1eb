"""Solves that tell of each target as it ends: what fails ends the targets that need it, and no others if asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.errors import NoEmulator, PolyarchError, StepFailed
from polyarch.graph.graph import Graph, walk
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.request.explanation import Outcome
from polyarch.solver.facts import Gate, no_gate
from polyarch.solver.slots import SlotLimits
from polyarch.solver.solver import ReportOf, Solver
from tests.support.fakes.solving import (
    Bench,
    CountingRunner,
    MemoryDatabase,
    ThreadLocks,
    Tree,
    make_records,
)


class Ended:
    """Remembers how each target ended, in order."""

    def __init__(self, *, keeps_going: bool) -> None:
        self.keeps_going = keeps_going
        self.ends: list[tuple[str, str]] = []
        self.ran: dict[str, int] = {}

    def done(self, target: Vertex, _result: Tree, report: ReportOf, /) -> None:
        self.ends.append((target.name, "done"))
        self.ran[target.name] = report(Graph(targets=(target,))).count(Outcome.RAN)

    def failed(self, target: Vertex, error: PolyarchError, _report: ReportOf, /) -> None:
        self.ends.append((target.name, str(error)))


class Site:
    def __init__(self, *failing: str, gate: Gate = no_gate) -> None:
        self.gate = gate
        self.runner = CountingRunner(contexts={"context": {"a": "1"}}, before=self._before)
        self._failing = failing
        self._database = MemoryDatabase()

    def _before(self, vertex: Vertex, _cancel: CancelToken) -> None:
        if vertex.name in self._failing:
            raise StepFailed(f"{vertex.name} failed", status=1)

    def solve(self, *targets: Vertex, keeps_going: bool = True) -> Ended:
        ends = Ended(keeps_going=keeps_going)
        solver = Solver(
            self.runner,
            make_records(self._database, lambda: 1000.0),
            ThreadLocks(),
            limits=SlotLimits(jobs=1, files=1, hashes=1),
            clock=lambda: 1000.0,
            gate=self.gate,
        )
        try:
            solver.solve_each(Graph(targets=targets), CancelToken(), ends)
        finally:
            self._database.close()
        return ends


def three(bench: Bench) -> tuple[Vertex, Vertex, Vertex]:
    """Return two targets that share a step, of which the second needs `bad`, and one that needs that alone."""
    shared = bench.run("shared", bench.image("image"))
    bad = bench.run("bad", bench.image("other"))
    return bench.run("good", shared), bench.copy("both", shared, bad), bench.run("above", bad)


def test_others_go_on_without_what_failed() -> None:
    site = Site("bad")

    ends = site.solve(*three(Bench()))

    assert dict(ends.ends) == {"good": "done", "both": "bad failed", "above": "bad failed"}
    assert site.runner.runs == Counter(shared=1, bad=1, good=1)
    assert ends.ran == {"good": 2}


def test_the_first_failure_ends_all_unless_asked() -> None:
    site = Site("bad")
    good, both, above = three(Bench())

    with pytest.raises(StepFailed, match="bad failed"):
        site.solve(above, both, good, keeps_going=False)
    assert site.runner.runs["good"] == 0


def test_a_target_is_told_of_before_the_others_have_ended() -> None:
    bench = Bench()
    first = bench.run("first", bench.image("image"))
    last = bench.run("last", first)

    assert Site().solve(last, first).ends == [("first", "done"), ("last", "done")]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_exactly_the_targets_that_need_a_failing_step_fail(data: st.DataObject) -> None:
    bench = Bench()
    steps = [bench.image("image"), bench.local()]
    for number in range(data.draw(st.integers(1, 8))):
        bases = [each for each in steps if each.name != "context"]
        base = data.draw(st.sampled_from(bases))
        others = data.draw(st.lists(st.sampled_from(steps), max_size=2))
        steps.append(
            bench.copy(f"s{number}", base, *others) if others else bench.run(f"s{number}", base)
        )
    runs = [each for each in steps if each.inputs]
    failing = data.draw(st.sets(st.sampled_from([each.name for each in runs])))
    targets = data.draw(st.lists(st.sampled_from(runs), min_size=1, unique=True))

    ends = Site(*failing).solve(*targets)

    told = dict(ends.ends)
    assert len(ends.ends) == len(targets)
    for target in targets:
        needs = {each.name for each in walk((target,))}
        assert (told[target.name] == "done") == (not needs & failing)


def test_a_step_that_cannot_run_here_fails_those_who_need_it() -> None:
    def gate(certain: Sequence[Vertex], /) -> None:
        if any(each.name == "bad" for each in certain):
            raise NoEmulator("nothing runs it")

    site = Site(gate=gate)
    ends = site.solve(*three(Bench()))

    refused = "nothing runs it"
    assert dict(ends.ends) == {"good": "done", "both": refused, "above": refused}
    assert site.runner.runs == Counter(shared=1, good=1)
