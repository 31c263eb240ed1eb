"""Whole solves with a runner that counts. The laws are in test_laws.py."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from polyarch.errors import (
    Cancelled,
    InternalError,
    NoEmulator,
    PolyarchError,
    StepFailed,
    StoreError,
)
from polyarch.graph.graph import Graph
from polyarch.graph.location import Location, SourceText
from polyarch.graph.op import ScratchOp
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.progress import CancelToken, Event, StatusEvent, StepEvent
from polyarch.request.explanation import Outcome
from polyarch.solver.facts import Facts, Gate, no_gate
from polyarch.solver.key import CacheKey
from polyarch.solver.slots import SlotLimits
from polyarch.solver.solver import Solved, Solver
from polyarch.store.database import Database
from polyarch.store.locks import Locks
from tests.support.fakes.solving import (
    Bench,
    CountingRunner,
    MemoryDatabase,
    ThreadLocks,
    Tree,
    make_records,
)


class Site:
    """A runner, records and locks, as they last from build to build."""

    def __init__(self, **contexts: Tree) -> None:
        self.database = MemoryDatabase()
        self.now = 1000.0
        self.runner = CountingRunner(contexts=dict(contexts))
        self.records = make_records(self.database, lambda: self.now)
        self.locks = ThreadLocks()
        self.events: list[Event] = []
        self.limits = SlotLimits(jobs=2, files=2, hashes=2)
        self.cancel = CancelToken()
        self.watcher: Watcher | None = None
        self.gate: Gate = no_gate

    def solve(self, *targets: Vertex) -> Solved[Tree]:
        self.runner.forget_counts()
        self.events.clear()
        solver = Solver(
            self.runner,
            self.records,
            self.locks,
            limits=self.limits,
            sink=self.events.append,
            observer=self.watcher,
            gate=self.gate,
            clock=lambda: self.now,
        )
        return solver.solve(Graph(targets=targets), self.cancel)

    def told(self) -> list[tuple[str, str]]:
        """The steps' events, in short; not that they wait."""
        steps = [event for event in self.events if isinstance(event, StepEvent)]
        return [(event.name, _short(event)) for event in steps if event.started is not None]


def _short(event: StepEvent) -> str:
    if event.completed is None:
        return "started"
    return event.error or ("CACHED" if event.cached else "done")


@pytest.fixture
def site() -> Iterator[Site]:
    before = threading.active_count()
    site = Site(context={"a": "1", "b": "1"})
    yield site
    site.database.close()
    assert threading.active_count() == before


@pytest.fixture
def bench() -> Bench:
    return Bench()


def diamond(bench: Bench) -> Vertex:
    base = bench.run("base", bench.image("image"))
    left, right = bench.run("left", base), bench.run("right", base)
    return bench.copy("join", left, right)


def test_every_step_runs_once(site: Site, bench: Bench) -> None:
    solved = site.solve(diamond(bench))

    assert site.runner.runs == Counter(base=1, left=1, right=1, join=1)
    assert site.runner.fetches == Counter(image=1)
    assert solved.report.count(Outcome.RAN) == 4


def test_second_solve_runs_nothing_and_loads_the_target_only(site: Site, bench: Bench) -> None:
    first = site.solve(diamond(bench))
    second = site.solve(diamond(bench))

    assert second.results == first.results
    assert site.runner.runs == site.runner.fetches == Counter()
    assert site.runner.loads == Counter(join=1)
    assert (second.report.count(Outcome.CACHED), second.report.count(Outcome.NAMED)) == (4, 1)


def test_second_solve_writes_nothing_and_starts_no_thread(site: Site, bench: Bench) -> None:
    site.solve(diamond(bench))
    before = site.database.transactions
    site.solve(diamond(bench))

    assert site.database.transactions == before
    assert site.runner.threads == {threading.get_ident()}


def test_use_is_noted_in_one_transaction_once_it_is_minutes_old(site: Site, bench: Bench) -> None:
    site.solve(diamond(bench))
    before = site.database.transactions
    site.now += 1000
    site.solve(diamond(bench))

    assert site.database.transactions == before + 1


def test_chain_of_steps_runs_in_the_callers_thread(site: Site, bench: Bench) -> None:
    site.solve(bench.run("two", bench.run("one", bench.image("image"))))

    assert site.runner.threads == {threading.get_ident()}


def test_results_come_in_the_order_of_the_targets(site: Site, bench: Bench) -> None:
    image = bench.image("image")
    one, two = bench.run("one", image), bench.run("two", image)

    assert site.solve(one, two, one).results == (
        *site.solve(one).results,
        *site.solve(two).results,
        *site.solve(one).results,
    )


def test_file_that_is_not_read_may_change(site: Site, bench: Bench) -> None:
    target = bench.run("run", bench.copy("copy", bench.image("image"), bench.local()))
    site.solve(target)
    site.runner.contexts["context"] = {"a": "1", "b": "2"}
    site.solve(target)

    assert site.runner.runs == Counter()
    assert (site.runner.fetches, site.runner.reads) == (Counter(context=1), Counter(copy=1))


def test_file_that_is_read_runs_its_readers(site: Site, bench: Bench) -> None:
    copy = bench.copy("copy", bench.image("image"), bench.local())
    site.solve(bench.run("run", copy))
    site.runner.contexts["context"] = {"a": "2", "b": "1"}
    site.solve(bench.run("run", copy))

    assert site.runner.runs == Counter(copy=1, run=1)


def test_same_content_from_another_step_is_a_hit(site: Site, bench: Bench) -> None:
    def target(bench: Bench, *, ignore_cache: bool) -> Vertex:
        image = bench.image("image")
        return bench.copy("copy", image, bench.run("build", image, ignore_cache=ignore_cache))

    site.solve(target(bench, ignore_cache=False))
    site.solve(target(Bench(), ignore_cache=True))
    assert (site.runner.runs, site.runner.reads) == (Counter(build=1), Counter(copy=1))

    site.solve(target(Bench(), ignore_cache=False))
    assert (site.runner.runs, site.runner.reads) == (Counter(), Counter())


class Remade:
    """A copy from a step of which the result has no lasting name, nor was read but for its length."""

    def __init__(self, site: Site) -> None:
        site.runner.is_glancing = True
        self.site = site

    def solve(self, text: str = "1", *, again: bool = True) -> None:
        """Solve with a context of that text; the step runs `again` whether it must or not."""
        self.site.runner.contexts["context"] = {"a": text}
        bench = Bench()
        image = bench.image("image")
        made = bench.copy("make", image, bench.local(), ignore_cache=again)
        copy = bench.copy("copy", image, made)
        self.site.now += 1
        self.site.solve(bench.run("after", copy))

    @property
    def compared(self) -> int:
        return self.site.runner.comparisons["copy"]


def test_first_copy_is_compared_with_nothing(site: Site) -> None:
    remade = Remade(site)
    remade.solve()

    assert site.runner.runs == Counter(make=1, copy=1, after=1)
    assert remade.compared == 0


def test_unread_input_that_is_the_same_is_a_hit(site: Site) -> None:
    remade = Remade(site)
    remade.solve()
    remade.solve()
    assert (site.runner.runs, remade.compared) == (Counter(make=1), 1)

    remade.solve(again=False)
    assert (site.runner.runs, site.runner.reads["copy"]) == (Counter(), 0)


def test_unread_input_that_differs_is_compared_once(site: Site) -> None:
    remade = Remade(site)
    remade.solve("1")
    remade.solve("2")
    assert site.runner.runs == Counter(make=1, copy=1, after=1)
    assert remade.compared == 1

    remade.solve("1")
    assert (site.runner.runs, remade.compared) == (Counter(make=1), 2)


def test_candidate_that_is_gone_is_forgotten(site: Site) -> None:
    remade = Remade(site)
    remade.solve()
    for stored in [each for each in site.runner.durable if each.startswith("copy")]:
        del site.runner.durable[stored]
    remade.solve()

    assert (site.runner.runs, remade.compared) == (Counter(make=1, copy=1, after=1), 0)
    assert not [each for each in site.records.results() if each not in site.runner.durable]


@pytest.mark.parametrize("is_same", [True, False])
def test_copies_of_two_steps_that_look_alike_wait_for_one_another(
    site: Site, bench: Bench, is_same: bool
) -> None:
    """As of two platforms: neither has a record when the other looks for one."""
    site.runner.is_glancing = True
    site.runner.contexts["other"] = {"a": "1" if is_same else "2"}
    image = bench.image("image")
    made = [
        bench.copy("make", image, bench.local(name), ignore_cache=True)
        for name in ("context", "other")
    ]
    waits = threading.Event()

    def sink(event: Event) -> None:
        if isinstance(event, StatusEvent) and event.step in {copy.digest for copy in copies}:
            waits.set()

    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex in copies:
            assert waits.wait(timeout=20)

    copies = [bench.copy("copy", image, source) for source in made]
    site.runner.before = before
    solver = Solver(site.runner, site.records, site.locks, limits=site.limits, sink=sink)
    solved = solver.solve(Graph(targets=tuple(copies)), CancelToken())

    assert site.runner.runs == Counter(make=2, copy=1 if is_same else 2)
    assert (solved.results[0] == solved.results[1]) is is_same


def test_image_of_another_name_and_equal_layers_is_a_hit(site: Site, bench: Bench) -> None:
    site.solve(bench.run("run", bench.image("image")))
    site.solve(bench.run("run", bench.image("image", reference="copy-of-image")))

    assert site.runner.runs == Counter()


def test_ignored_cache_runs_but_is_recorded(site: Site, bench: Bench) -> None:
    def target(*, ignore_cache: bool) -> Vertex:
        image = bench.image("image")
        return bench.copy("copy", image, bench.local(), ignore_cache=ignore_cache)

    for ignore_cache, runs in ((True, 1), (True, 1), (False, 0)):
        site.solve(target(ignore_cache=ignore_cache))
        assert site.runner.runs.total() == runs


def test_lost_target_runs_again_on_loaded_inputs(site: Site, bench: Bench) -> None:
    target = diamond(bench)
    site.solve(target)
    lost = [stored for stored in site.runner.durable if stored.startswith(("join", "left"))]
    for stored in lost:
        del site.runner.durable[stored]
    site.solve(target)

    assert site.runner.runs == Counter(join=1, left=1)
    assert site.runner.loads == Counter(join=1, left=1, right=1, base=1)
    site.solve(target)
    assert site.runner.runs == Counter()


def test_lost_intermediate_results_do_not_matter(site: Site, bench: Bench) -> None:
    target = diamond(bench)
    site.solve(target)
    for stored in [each for each in site.runner.durable if not each.startswith("join")]:
        del site.runner.durable[stored]
    site.solve(target)

    assert site.runner.runs == Counter()


def test_image_that_is_here_is_not_fetched(site: Site, bench: Bench) -> None:
    site.runner.present.add("image")
    solved = site.solve(bench.run("run", bench.image("image")))

    assert site.runner.fetches == Counter()
    assert solved.report.count(Outcome.CACHED) == 1
    assert site.told() == [("image", "CACHED"), ("run", "started"), ("run", "done")]


def test_events_of_a_cold_and_a_warm_solve(site: Site, bench: Bench) -> None:
    target = bench.run("run", bench.image("image"))
    site.solve(target)
    assert site.told() == [
        ("image", "started"),
        ("image", "done"),
        ("run", "started"),
        ("run", "done"),
    ]

    site.solve(target)
    assert site.told() == [("image", "CACHED"), ("run", "CACHED")]


def test_event_is_whole(site: Site, bench: Bench) -> None:
    image = bench.image("image")
    target = bench.run("run", image)
    site.solve(target)

    assert site.events[-1] == StepEvent(
        step=target.digest,
        name="run",
        inputs=(image.digest,),
        started=1000.0,
        completed=1000.0,
    )


def test_all_steps_are_told_of_before_the_first_begins(site: Site, bench: Bench) -> None:
    target = bench.copy("copy", bench.run("run", bench.image("image")), bench.local())
    for _ in range(2):
        site.events.clear()
        site.solve(target)
        steps = [event for event in site.events if isinstance(event, StepEvent)]

        assert sorted(event.name for event in steps[:4]) == ["context", "copy", "image", "run"]
        assert all(event.started is None for event in steps[:4])
        ended = {event.name for event in steps if event.completed is not None}
        assert ended == {"context", "copy", "image", "run"}


def test_roots_and_steps_without_a_name_are_silent(site: Site, bench: Bench) -> None:
    named_root = make_vertex(ScratchOp(), name="scratch")
    site.solve(bench.run("", bench.scratch()), bench.run("run", named_root))

    assert site.told() == [("run", "started"), ("run", "done")]


def test_slow_hit_was_started(site: Site, bench: Bench) -> None:
    target = bench.copy("copy", bench.image("image"), bench.local())
    site.solve(target)
    site.solve(target)

    assert site.told() == [
        ("context", "started"),
        ("context", "done"),
        ("copy", "started"),
        ("image", "CACHED"),
        ("copy", "CACHED"),
    ]


def test_first_error_cancels_the_rest_and_is_raised(site: Site, bench: Bench) -> None:
    siblings_run = threading.Event()

    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex.name == "bad":
            siblings_run.wait()
            raise StepFailed("it failed", status=7)
        if vertex.name == "slow":
            ended = threading.Event()
            cancel.on_cancel(ended.set)
            siblings_run.set()
            ended.wait()
            raise StepFailed("killed", status=137)

    site.runner.before = before
    image = bench.image("image")
    bad, slow = bench.run("bad", image), bench.run("slow", image)
    with pytest.raises(StepFailed, match="it failed"):
        site.solve(bench.run("after", bad), slow)

    assert site.runner.runs == Counter(bad=1, slow=1)
    told = site.told()
    assert ("bad", "it failed") in told
    assert told[-1] == ("slow", "canceled")


def test_error_knows_its_place(site: Site, bench: Bench) -> None:
    def before(vertex: Vertex, cancel: CancelToken) -> None:
        raise StepFailed("no")

    site.runner.before = before
    place = Location(source=SourceText(name="Dockerfile", text="RUN x\n"), start=1, end=1)
    image = bench.image("image")
    target = make_vertex(bench.run("x", image).op, (image,), name="x", location=place)
    site.runner.present.add("image")
    with pytest.raises(StepFailed) as caught:
        site.solve(target)

    assert caught.value.place == place


def test_foreign_error_is_ours_to_report(site: Site, bench: Bench) -> None:
    def before(vertex: Vertex, cancel: CancelToken) -> None:
        raise ZeroDivisionError("oops")

    site.runner.before = before
    with pytest.raises(InternalError, match="image: ZeroDivisionError: oops"):
        site.solve(bench.image("image"))


def test_cancelled_by_the_user(site: Site, bench: Bench) -> None:
    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex.name == "run":
            site.cancel.cancel()
            raise StepFailed("killed", status=137)

    site.runner.before = before
    with pytest.raises(Cancelled):
        site.solve(bench.run("after", bench.run("run", bench.image("image"))))

    assert site.runner.runs == Counter(run=1)
    assert site.told()[-1] == ("run", "canceled")


def test_cancelled_before_it_began(site: Site, bench: Bench) -> None:
    site.cancel.cancel()
    with pytest.raises(Cancelled):
        site.solve(bench.image("image"))

    assert site.told() == []


def test_step_begun_by_reading_is_canceled_with_the_rest(site: Site, bench: Bench) -> None:
    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex.name == "image":
            raise PolyarchError("no such image")

    site.runner.before = before
    with pytest.raises(PolyarchError, match="no such image"):
        site.solve(bench.copy("copy", bench.image("image"), bench.local()))

    assert site.told()[-1] == ("copy", "canceled")


def test_waiting_for_another_build_is_told_and_can_be_cancelled(site: Site, bench: Bench) -> None:
    target = bench.run("run", bench.scratch())
    site.solve(target)
    [name] = site.locks.acquired
    record = site.records.find(CacheKey(name))
    assert record is not None
    site.records.forget(record.result)
    waits: list[str] = []

    def sink(event: Event) -> None:
        if isinstance(event, StatusEvent):
            waits.append(event.id)
            canceller.start()

    canceller = threading.Thread(target=site.cancel.cancel)
    solver = Solver(site.runner, site.records, site.locks, sink=sink)
    with site.locks.exclusive(name), pytest.raises(Cancelled):
        solver.solve(Graph(targets=(target,)), site.cancel)
    canceller.join()

    assert waits == ["waiting for another build of this step"]


def test_builds_of_several_processes_share_one_store(tmp_path: Path, bench: Bench) -> None:
    """As far as two processes differ from two threads that have nothing but files in common."""
    (tmp_path / "locks").mkdir()
    runner = CountingRunner()
    target = diamond(bench)

    def build() -> None:
        database = Database(tmp_path / "records.db")
        solver = Solver(runner, make_records(database), Locks(tmp_path / "locks"))
        solver.solve(Graph(targets=(target,)), CancelToken())
        database.close()

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert runner.runs == Counter(base=1, left=1, right=1, join=1)


def test_step_in_a_directory_is_never_recorded(site: Site, bench: Bench) -> None:
    target = bench.run("run", bench.local())
    for _ in range(2):
        site.solve(target)
        assert site.runner.runs == Counter(run=1)

    assert site.locks.acquired == []


def test_image_no_longer_needed_is_canceled(site: Site, bench: Bench) -> None:
    def target(bench: Bench, *, ignore_cache: bool) -> Vertex:
        built = bench.run("build", bench.image("tools"), ignore_cache=ignore_cache)
        return bench.copy("copy", bench.image("image"), built)

    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex.name == "image":
            ended = threading.Event()
            cancel.on_cancel(ended.set)
            ended.wait()
            cancel.check()

    site.solve(target(bench, ignore_cache=False))
    site.runner.before = before
    solved = site.solve(target(Bench(), ignore_cache=True))

    assert site.runner.runs == Counter(build=1)
    assert solved.report.count(Outcome.CACHED) == 1
    assert ("image", "canceled") in site.told()


def test_interrupt_in_a_thread_reaches_the_caller(site: Site, bench: Bench) -> None:
    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex.name == "bad":
            raise KeyboardInterrupt

    site.runner.before = before
    with pytest.raises(KeyboardInterrupt):
        site.solve(bench.image("good"), bench.image("bad"))


def test_record_that_another_build_wrote_meanwhile_is_a_hit(site: Site, bench: Bench) -> None:
    target = bench.run("run", bench.image("image"))

    def before(vertex: Vertex, cancel: CancelToken) -> None:
        site.runner.before = lambda vertex, cancel: None
        other = Solver(site.runner, site.records, site.locks)
        other.solve(Graph(targets=(target,)), CancelToken())

    site.runner.before = before
    solved = site.solve(target)

    assert site.runner.runs == Counter(run=1)
    assert solved.report.outcomes[target.digest] is Outcome.CACHED


def test_failing_to_note_use_fails_no_build(bench: Bench) -> None:
    class FullDatabase(MemoryDatabase):
        def execute(self, sql: str, parameters: object = ()) -> list[tuple[object, ...]]:
            if sql.startswith("UPDATE"):
                raise StoreError("no space left")
            return super().execute(sql, parameters)  # type: ignore[arg-type]

    site = Site()
    site.database.close()
    site.database = FullDatabase()
    site.records = make_records(site.database, lambda: site.now)
    target = bench.run("run", bench.scratch())
    site.solve(target)
    site.now += 1000
    site.solve(target)
    site.database.close()

    assert site.runner.runs == Counter()


def test_steps_that_wait_for_one_another_run_at_once(site: Site, bench: Bench) -> None:
    image = bench.image("image")
    steps = [bench.run(f"step-{number}", image) for number in range(32)]
    together = threading.Barrier(len(steps), timeout=20)

    def before(vertex: Vertex, cancel: CancelToken) -> None:
        if vertex in steps:
            together.wait()

    site.runner.before = before
    site.limits = SlotLimits()
    site.solve(*steps)

    assert not together.broken


def test_the_gate_is_asked_before_anything_that_steps_need(site: Site, bench: Bench) -> None:
    image = bench.image("image")
    steps = [bench.run(f"step-{number}", image) for number in range(3)]
    after = bench.run("after", steps[0])
    asked: list[tuple[set[str], int]] = []

    def gate(certain: Sequence[Vertex], /) -> None:
        asked.append(({vertex.name for vertex in certain}, sum(site.runner.runs.values())))
        if len(asked) == 1:
            raise NoEmulator("none")

    site.gate = gate
    with pytest.raises(NoEmulator):
        site.solve(*steps, after)
    for _ in range(2):
        site.solve(*steps, after)

    first = {step.name for step in steps}
    assert asked[:2] == [(first, 0), (first, 0)]
    assert [names for names, _ in asked[2:]] == [{"after"}]


class Watcher:
    """An observer that remembers what it was told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs_told: list[tuple[str, tuple[str, ...]]] = []
        self.ends: list[dict[str, Outcome | None]] = []
        self.facts: dict[str, Facts] = {}
        self._error = error

    def runs(self, vertex: Vertex, facts: Callable[[Vertex], Facts], /) -> None:
        known = tuple(facts(source).identity for source in vertex.inputs)
        self.runs_told.append((vertex.name, known))
        if self._error is not None:
            raise self._error

    def ended(self, steps: Iterable[Facts], /) -> None:
        self.facts = {each.vertex.name: each for each in steps}
        self.ends.append({name: each.outcome for name, each in self.facts.items()})
        if self._error is not None:
            raise self._error


def test_an_observer_hears_of_what_runs_and_of_the_end(site: Site, bench: Bench) -> None:
    site.watcher = Watcher()
    target = bench.run("b", bench.copy("a", bench.image("image"), bench.local()))

    site.solve(target)

    (first, second) = site.watcher.runs_told
    assert (first[0], second[0]) == ("a", "b")
    assert all(first[1])
    assert site.watcher.ends == [
        {
            "image": Outcome.FETCHED,
            "context": Outcome.FETCHED,
            "a": Outcome.RAN,
            "b": Outcome.RAN,
        }
    ]
    assert site.watcher.facts["a"].inputs[1].content is not None
    assert len(site.watcher.facts["b"].keys) == 1


def test_an_observer_hears_nothing_of_an_unchanged_solve(site: Site, bench: Bench) -> None:
    target = bench.run("a", bench.image("image"))
    site.solve(target)
    site.watcher = Watcher()

    site.solve(target)

    assert (site.watcher.runs_told, site.watcher.ends) == ([], [])


def test_an_observer_hears_of_failures(site: Site, bench: Bench) -> None:
    def fail(vertex: Vertex, _cancel: CancelToken) -> None:
        if vertex.name == "b":
            raise StepFailed("no")

    site.runner.before = fail
    site.watcher = Watcher()
    with pytest.raises(StepFailed):
        site.solve(bench.run("c", bench.run("b", bench.run("a", bench.scratch()))))

    (end,) = site.watcher.ends
    assert (end["a"], end["b"], end["c"]) == (Outcome.RAN, Outcome.FAILED, None)


def test_trouble_of_an_observer_fails_no_build(site: Site, bench: Bench) -> None:
    site.watcher = Watcher(StoreError("no space left"))

    assert site.solve(bench.run("a", bench.scratch())).report.count(Outcome.RAN) == 1
