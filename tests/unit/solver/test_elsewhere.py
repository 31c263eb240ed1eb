"""Results of other machines: asked for where the store has none, written under its own keys, told of what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.request.explanation import Outcome
from polyarch.solver.key import Ingredients
from polyarch.solver.records import Record
from polyarch.solver.solver import Solved, Solver
from tests.support.fakes.solving import (
    Bench,
    CountingRunner,
    MemoryDatabase,
    ThreadLocks,
    Tree,
    make_records,
)

STORED = {"first": "first's", "second": "second's"}


class Others:
    """Has the results of steps by their names; `told` is what it was told."""

    def __init__(self, *names: str, is_far: bool = False, alike: bool = False) -> None:
        self.is_far = is_far
        self.told: list[str] = []
        self._names = names
        self._alike = alike

    def _record(self, vertex: Vertex, ingredients: Ingredients) -> Record | None:
        if vertex.name not in self._names:
            return None
        now = time.time()
        return Record(
            identity=f"key:{vertex.name}",
            result=STORED[vertex.name],
            step=vertex.name,
            explain=ingredients.to_json(),
            created=now,
            last_used=now,
        )

    def identified(self, vertex: Vertex, _identity: str) -> None:
        self.told.append(f"identified {vertex.name}")

    def find(self, vertex: Vertex, ingredients: Ingredients) -> Record | None:
        return None if self._alike else self._record(vertex, ingredients)

    def find_alike(self, vertex: Vertex, ingredients: Ingredients) -> Mapping[str, Record]:
        found = self._record(vertex, ingredients)
        return {found.identity: found} if found else {}

    def found(self, vertex: Vertex, record: Record) -> None:
        self.told.append(f"found {vertex.name} {record.identity}")

    def lost(self, vertex: Vertex, _record: Record) -> None:
        self.told.append(f"lost {vertex.name}")

    def ran(self, vertex: Vertex, _record: Record, seconds: float) -> None:
        assert seconds >= 0
        self.told.append(f"ran {vertex.name}")


class Site:
    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.runner = CountingRunner()

    def solve(self, target: Vertex, others: Others | None) -> Solved[Tree]:
        self.runner.forget_counts()
        solver = Solver(self.runner, make_records(self.database), ThreadLocks())
        return solver.solve(Graph(targets=(target,)), CancelToken(), others)


def chain(bench: Bench) -> tuple[Vertex, Vertex]:
    first = bench.run("first", bench.image("base"))
    return first, bench.run("second", first)


@pytest.mark.parametrize("is_far", [False, True])
def test_what_others_have_is_found_and_kept(is_far: bool) -> None:
    site, others = Site(), Others("first", "second", is_far=is_far)
    _, second = chain(Bench())
    site.runner.durable = {stored: {"out": stored} for stored in STORED.values()}

    solved = site.solve(second, others)

    assert solved.results == ({"out": "second's"},)
    assert solved.report.count(Outcome.CACHED) == 2
    assert others.told == ["identified base", "found first key:first", "found second key:second"]
    # It is written under the store's own keys.
    assert site.solve(second, None).report.count(Outcome.RAN) == 0


def test_a_result_that_others_have_lost_is_made() -> None:
    site, others = Site(), Others("second")
    _, second = chain(Bench())

    solved = site.solve(second, others)

    assert solved.report.count(Outcome.RAN) == 2
    assert others.told == [
        "identified base",
        "ran first",
        "found second key:second",
        "lost second",
        "ran second",
    ]


def test_what_looks_alike_is_compared() -> None:
    bench = Bench()
    site, others = Site(), Others("second", alike=True)
    site.runner.is_glancing = True
    made = bench.run("first", bench.image("base"))
    copy = bench.copy("second", bench.image("other"), made)
    expected = site.runner.expected
    tree = expected(
        copy, [expected(copy.inputs[0], ()), expected(made, [expected(made.inputs[0], ())])]
    )
    site.runner.durable = {"second's": tree}

    assert site.solve(copy, others).results == (tree,)
    assert site.runner.runs == {"first": 1}
    assert "found second key:second" in others.told
