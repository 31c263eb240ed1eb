"""Laws of solving, over random graphs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.digest import Digest
from polyarch.graph.graph import Graph
from polyarch.graph.op import FileOp
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.request.explanation import Outcome
from polyarch.solver.slots import SlotLimits
from polyarch.solver.solver import Solved, Solver
from tests.support.fakes.solving import (
    Bench,
    CountingRunner,
    MemoryDatabase,
    ThreadLocks,
    Tree,
    make_records,
)

FILES = ("a", "b")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Images and directories, and up to a dozen steps on them; one to three targets."""
    bench = Bench()
    bases = [bench.image(f"image-{number}") for number in range(draw(st.integers(1, 2)))]
    sources = [bench.local(f"local-{number}") for number in range(draw(st.integers(1, 2)))]
    for number in range(draw(st.integers(1, 12))):
        base = draw(st.sampled_from(bases))
        extra = draw(st.lists(st.sampled_from(bases + sources), max_size=2))
        if draw(st.booleans()):
            step = bench.run(f"run-{number}", base, *extra)
        else:
            paths = tuple(draw(st.sets(st.sampled_from(FILES), min_size=1)))
            step = bench.copy(f"copy-{number}", base, *extra, paths=paths)
        bases.append(step)
    targets = draw(st.lists(st.sampled_from(bases), min_size=1, max_size=3))
    return Graph(targets=tuple(targets))


class World:
    """What lasts between solves."""

    def __init__(self, *, is_lasting: bool = False, is_glancing: bool = False) -> None:
        contexts: dict[str, Tree] = {
            f"local-{number}": dict.fromkeys(FILES, "1") for number in range(2)
        }
        self.database = MemoryDatabase()
        self.runner = CountingRunner(
            contexts=contexts, is_lasting=is_lasting, is_glancing=is_glancing
        )
        self.records = make_records(self.database)
        self.locks = ThreadLocks()

    def solve(self, graph: Graph) -> Solved[Tree]:
        limits = SlotLimits(jobs=3, files=2, sources=2, hashes=2)
        solver = Solver(self.runner, self.records, self.locks, limits=limits)
        return solver.solve(graph, CancelToken())

    def expected(self, graph: Graph) -> dict[Digest, Tree]:
        """Every vertex's result, computed one after another."""
        results: dict[Digest, Tree] = {}
        for vertex in graph.vertices():
            inputs = [results[source.digest] for source in vertex.inputs]
            results[vertex.digest] = self.runner.expected(vertex, inputs)
        return results


def steps(graph: Graph) -> list[Vertex]:
    return [vertex for vertex in graph.vertices() if vertex.inputs]


def names(vertices: Sequence[Vertex]) -> Counter[str]:
    return Counter(vertex.name for vertex in vertices)


@given(graph=graphs(), is_lasting=st.booleans(), is_glancing=st.booleans())
@settings(max_examples=20, deadline=None)
def test_cold_solve_runs_every_step_once(graph: Graph, is_lasting: bool, is_glancing: bool) -> None:
    world = World(is_lasting=is_lasting, is_glancing=is_glancing)
    solved = world.solve(graph)

    expected = world.expected(graph)
    assert solved.results == tuple(expected[target.digest] for target in graph.targets)
    assert world.runner.runs == names(steps(graph))
    assert set(world.runner.fetches.values()) <= {1}
    world.database.close()


@given(graph=graphs(), is_glancing=st.booleans())
@settings(max_examples=20, deadline=None)
def test_second_solve_runs_nothing(graph: Graph, is_glancing: bool) -> None:
    world = World(is_glancing=is_glancing)
    first = world.solve(graph)
    world.runner.forget_counts()
    second = world.solve(graph)

    assert second.results == first.results
    assert world.runner.runs == Counter()
    wanted = {target.digest for target in graph.targets if target.inputs}
    assert world.runner.loads.total() >= len(wanted)
    for step in steps(graph):
        assert second.report.outcomes[step.digest] is Outcome.CACHED
        assert second.report.identities[step.digest] == first.report.identities[step.digest]
    world.database.close()


@given(
    graph=graphs(),
    name=st.sampled_from(["local-0", "local-1"]),
    file=st.sampled_from(FILES),
    is_glancing=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_edit_runs_what_reads_it_and_what_stands_on_that(
    graph: Graph, name: str, file: str, is_glancing: bool
) -> None:
    world = World(is_glancing=is_glancing)
    world.solve(graph)
    before = world.expected(graph)
    world.runner.contexts[name] = {**world.runner.contexts[name], file: "2"}
    after = world.expected(graph)
    world.runner.forget_counts()
    solved = world.solve(graph)

    changed: set[Digest] = {
        step.digest for step in steps(graph) if before[step.digest] != after[step.digest]
    }
    assert world.runner.runs == names([each for each in steps(graph) if each.digest in changed])
    assert solved.results == tuple(after[target.digest] for target in graph.targets)
    world.database.close()


@given(graph=graphs(), again=st.sets(st.integers(0, 11)), edit=st.booleans())
@settings(max_examples=30, deadline=None)
def test_what_nobody_has_read_is_found_as_if_it_had_been(
    graph: Graph, again: set[int], edit: bool
) -> None:
    """Steps whose results are lost run again and get other names; what reads the same is a hit."""
    ran = []
    for is_glancing in False, True:
        world = World(is_glancing=is_glancing)
        world.solve(graph)
        for stored in list(world.runner.durable):
            if any(stored.startswith((f"run-{number} ", f"copy-{number} ")) for number in again):
                del world.runner.durable[stored]
                world.records.forget(stored)
        if edit:
            world.runner.contexts["local-0"] = {"a": "2", "b": "1"}
        world.runner.forget_counts()
        world.solve(graph)
        ran.append(world.runner.runs)
        world.database.close()

    assert ran[0] == ran[1]


@given(graph=graphs(), data=st.data(), is_glancing=st.booleans())
@settings(max_examples=30, deadline=None)
def test_lost_results_run_again_where_they_are_needed(
    graph: Graph, data: st.DataObject, is_glancing: bool
) -> None:
    world = World(is_lasting=True, is_glancing=is_glancing)
    first = world.solve(graph)
    lost = data.draw(st.sets(st.sampled_from(sorted(world.runner.durable) or [""])))
    for stored in lost & world.runner.durable.keys():
        del world.runner.durable[stored]
    gone = {stored.split()[0] for stored in lost if stored}
    world.runner.forget_counts()
    second = world.solve(graph)

    wanted = {target.digest for target in graph.targets}
    wanted |= _read_by_content(graph)
    if is_glancing:
        wanted |= _compared(graph)
    for vertex in reversed(steps(graph)):
        if vertex.digest in wanted and vertex.name in gone:
            wanted |= {source.digest for source in vertex.inputs}
    needed = [step for step in steps(graph) if step.digest in wanted and step.name in gone]
    assert world.runner.runs == names(needed)
    assert second.results == first.results
    world.database.close()


def _without_fast_key(graph: Graph) -> list[Vertex]:
    """The steps that read a build context."""
    return [
        step
        for step in steps(graph)
        if any(not source.inputs and source.name.startswith("local") for source in step.inputs)
    ]


def _read_by_content(graph: Graph) -> set[Digest]:
    """The inputs of steps that have no fast key."""
    return {source.digest for step in _without_fast_key(graph) for source in step.inputs[1:]}


def _compared(graph: Graph) -> set[Digest]:
    """The copies that have no fast key, nor a slow one: one is found if its result can be compared."""
    return {
        step.digest
        for step in _without_fast_key(graph)
        if isinstance(step.op, FileOp) and any(source.inputs for source in step.inputs[1:])
    }


@given(graph=graphs(), is_glancing=st.booleans())
@settings(max_examples=15, deadline=None)
def test_two_solves_at_once_run_every_step_once(graph: Graph, is_glancing: bool) -> None:
    world = World(is_glancing=is_glancing)
    solved: list[Solved[Tree]] = []
    threads = [threading.Thread(target=lambda: solved.append(world.solve(graph))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(solved) == 2
    assert solved[0].results == solved[1].results
    assert world.runner.runs == names(steps(graph))
    world.database.close()


@given(graph=graphs(), data=st.data(), is_glancing=st.booleans())
@settings(max_examples=15, deadline=None)
def test_failure_leaves_what_was_done(graph: Graph, data: st.DataObject, is_glancing: bool) -> None:
    world = World(is_glancing=is_glancing)
    bad = data.draw(st.sampled_from([vertex.name for vertex in graph.vertices()]))

    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex.name == bad:
            raise ValueError(bad)

    world.runner.before = before
    failed = False
    try:
        world.solve(graph)
    except Exception as error:  # noqa: BLE001
        failed = f"ValueError: {bad}" in str(error)
    done = len(world.runner.durable)
    world.runner.before = lambda vertex, cancel: None
    world.runner.forget_counts()
    world.solve(graph)

    assert failed
    assert world.runner.runs.total() == len(steps(graph)) - done
    world.database.close()
