"""Explanations of solves with a runner that counts: what is compared with what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from polyarch.digest import Digest
from polyarch.errors import PolyarchError, StepFailed
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import StepNote, Vertex
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.request.explanation import Explanation
from polyarch.solver.facts import Facts
from polyarch.solver.solver import Solver
from polyarch.store.database import Database
from polyarch.why.explainer import Explainer, Forced
from polyarch.why.history import History, Project
from polyarch.why.seen import Seen
from tests.support.fakes.solving import Bench, CountingRunner, ThreadLocks, Tree, make_records

HERE = Project(context="/here")


class Site:
    """A store's records and history, as they last from build to build."""

    def __init__(self, database: Database) -> None:
        self.now = 1000.0
        self.runner = CountingRunner(contexts={"context": {"a": "1"}})
        self.records = make_records(database, lambda: self.now)
        self.history = History(database, clock=lambda: self.now)
        self.seen: dict[tuple[Digest, int], Seen] = {}
        self.started: list[str] = []
        self.ended: tuple[Explanation, ...] = ()

    def build(
        self, *targets: Vertex, project: Project = HERE, forced: Forced | None = None
    ) -> dict[str, str]:
        """Solve, and return the reasons of what ran, by step."""
        self.now += 1
        self.started.clear()
        self.ended = ()
        graph = Graph(targets=targets)
        made = Explainer(
            graph, self.history, project, seen=self.seen, forced=forced or Forced(no_cache=True)
        )
        watcher = Watcher(self, made)
        solver: Solver[Tree] = Solver(self.runner, self.records, ThreadLocks(), observer=watcher)
        solver.solve(graph, CancelToken())
        return self.reasons()

    def reasons(self) -> dict[str, str]:
        return {each.name: each.causes[0].text() for each in self.ended if each.causes}


class Watcher:
    def __init__(self, site: Site, explainer: Explainer) -> None:
        self.site, self.explainer = site, explainer

    def runs(self, vertex: Vertex, facts: Callable[[Vertex], Facts], /) -> None:
        self.site.started.append(self.explainer.explain(vertex, facts).causes[0].text())

    def ended(self, steps: Iterable[Facts], /) -> None:
        self.site.ended = self.explainer.end(steps, number=lambda _: 7)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    database = Database(tmp_path / "state.db")
    yield Site(database)
    database.close()


def placed(vertex: Vertex, number: int, stage: str = "0", platform: str = "linux/amd64") -> Vertex:
    note = StepNote(stage=stage, number=number, text=vertex.name)
    return replace(vertex, note=note, platform_name=platform)


def chain(*names: str, stage: str = "0", ignore_cache: bool = False) -> Vertex:
    """Execs on top of one another."""
    bench = Bench()
    vertex = bench.image("base")
    for number, name in enumerate(names, start=1):
        vertex = placed(bench.run(name, vertex, ignore_cache=ignore_cache), number, stage)
    return vertex


def test_nothing_is_said_of_an_unchanged_build(site: Site) -> None:
    site.build(chain("a", "b"))

    assert site.build(chain("a", "b")) == {}
    assert site.ended == ()


def test_a_first_build_is_new(site: Site) -> None:
    assert site.build(chain("a")) == {"a": "no earlier build of this step"}


def test_at_once_the_same_is_said_as_at_the_end(site: Site) -> None:
    site.build(chain("a", "b"))
    reasons = site.build(chain("x", "b"))

    assert site.started == list(reasons.values())


def test_a_reason_is_told_where_it_lies(site: Site) -> None:
    site.build(chain("a", "b", "c"))

    reasons = site.build(chain("x", "b", "c"))

    assert reasons == {
        "x": "the instruction differs: a → x",
        "b": "x before it changed: the instruction differs: a → x",
        "c": "x before it changed: the instruction differs: a → x",
    }
    assert [each.through for each in site.ended] == [(), (), ("b",)]


def test_a_step_that_moved_is_the_same_step(site: Site) -> None:
    site.build(chain("a", "b"))

    reasons = site.build(chain("new", "a", "b"))

    assert reasons["new"] == "no earlier build of this step (a was in its place)"
    assert reasons["b"].startswith("new before it ran again")


def test_cached_steps_are_listed_without_a_reason(site: Site) -> None:
    site.build(chain("a", "b"))
    site.build(chain("a", "x"))

    assert [(each.name, each.outcome, each.number) for each in site.ended] == [
        ("a", "cached", 7),
        ("x", "ran", 7),
    ]


def test_the_nearest_of_earlier_times_is_compared_with(site: Site) -> None:
    site.build(chain("a", "b"))
    site.build(chain("x", "b"))
    site.build(chain("x", "y"))

    assert site.build(chain("a", "z")) == {"z": "the instruction differs: b → z"}


def test_ignoring_the_cache_is_the_reason_whatever_differs(site: Site) -> None:
    site.build(chain("a"))

    assert site.build(chain("x", ignore_cache=True)) == {"x": "--no-cache was given"}


def test_a_filter_is_named_with_its_stage(site: Site) -> None:
    target = chain("a", stage="tools", ignore_cache=True)

    reasons = site.build(target, forced=Forced())

    assert reasons == {"a": "--no-cache-filter=tools was given"}


def test_a_lost_result_is_told(site: Site) -> None:
    site.build(chain("a", "b"))
    site.runner.durable.clear()
    for result in site.records.results():
        site.records.forget(result)

    reasons = site.build(chain("a", "b"))

    assert reasons["a"].startswith("nothing differs, but its earlier result is gone")
    assert reasons["b"].startswith("a before it ran again: nothing differs")


def test_another_platform_is_compared_with_the_one_that_was_built(site: Site) -> None:
    bench = Bench()
    site.build(placed(bench.run("a", bench.image("amd64")), 1))

    reasons = site.build(placed(bench.run("a", bench.image("arm64")), 1, platform="linux/arm64"))

    assert reasons == {"a": "the platform differs: linux/amd64 → linux/arm64"}


def test_a_stage_of_another_name_is_found_by_its_steps(site: Site) -> None:
    bench = Bench()
    site.build(placed(bench.run("a", bench.image("one", reference="base")), 1, "old"))

    reasons = site.build(placed(bench.run("a", bench.image("two", reference="base")), 1, "new"))

    assert reasons["a"].startswith("the base image base differs: sha256:")


def test_another_directory_of_the_same_project_is_compared_with(site: Site) -> None:
    bench = Bench()
    base = bench.image("base")
    site.build(placed(bench.copy("copy", base, bench.local()), 1))
    site.runner.contexts["context"] = {"a": "2"}

    reasons = site.build(
        placed(bench.copy("copy", base, bench.local()), 1), project=Project(context="/clone")
    )

    assert reasons == {"copy": "the build context differs (which file, isn't known)"}


def test_what_has_nothing_in_common_is_new_in_another_directory(site: Site) -> None:
    bench = Bench()
    site.build(placed(bench.run("a", bench.image("one")), 1))

    reasons = site.build(
        placed(bench.run("a", bench.image("two")), 1), project=Project(context="/clone")
    )

    assert reasons == {"a": "no earlier build of this step"}


def test_a_step_that_failed_has_not_ended_well(site: Site) -> None:
    def fail(vertex: Vertex, _cancel: CancelToken) -> None:
        if vertex.name == "bad":
            raise StepFailed("bad", status=1, tail=())

    site.runner.before = fail
    for _ in range(2):
        with pytest.raises(PolyarchError):
            site.build(chain("good", "bad"))

    assert site.reasons() == {"bad": "no earlier build of this step ended well"}
    assert [(each.name, each.outcome) for each in site.ended] == [
        ("good", "cached"),
        ("bad", "failed"),
    ]


def test_a_failure_leaves_the_last_good_time_to_compare_with(site: Site) -> None:
    def fail(vertex: Vertex, _cancel: CancelToken) -> None:
        if vertex.name == "bad":
            raise StepFailed("bad", status=1, tail=())

    site.build(chain("good"))
    site.runner.before = fail
    with pytest.raises(PolyarchError):
        site.build(chain("bad"))

    assert site.build(chain("better")) == {"better": "the instruction differs: good → better"}


def unread_copy(*, again: bool = False) -> Vertex:
    """A copy from a step, of which the runner has read nothing but how long it is."""
    bench = Bench()
    base = bench.image("base")
    made = placed(bench.copy("make", base, bench.local(), ignore_cache=again), 1, "made")
    return placed(bench.copy("copy", base, made), 1)


def remake(site: Site, text: str) -> dict[str, str]:
    site.runner.contexts["context"] = {"a": text}
    return site.build(unread_copy())


def test_an_unread_file_that_was_found_to_differ_is_named(site: Site) -> None:
    site.runner.is_glancing = True
    remake(site, "1")
    (stored,) = [each for each in site.runner.durable if each.startswith("copy")]
    site.seen[unread_copy().digest, 1] = Seen(unread=["big"], unlike={stored: "big"})

    assert remake(site, "2")["copy"] == "/big differs"


def test_unread_files_that_none_was_compared_with_are_explained_by_their_step(site: Site) -> None:
    site.runner.is_glancing = True
    remake(site, "1")
    site.seen[unread_copy().digest, 1] = Seen(unread=["big"], unlike={"another result": "big"})

    assert remake(site, "2")["copy"].startswith("make before it changed: the build context differs")


def test_a_copy_whose_result_is_gone_has_that_for_a_reason(site: Site) -> None:
    site.runner.is_glancing = True
    remake(site, "1")
    (stored,) = [each for each in site.runner.durable if each.startswith("copy")]
    del site.runner.durable[stored]

    assert remake(site, "1")["copy"].startswith("nothing differs, but its earlier result is gone")


def test_what_an_unread_copy_is_found_for_is_compared_with(site: Site) -> None:
    """Of two results that look alike, that of the same content is what the step on it goes by."""
    site.runner.is_glancing = True
    for text in "1", "2":
        site.runner.contexts["context"] = {"a": text}
        site.build(placed(Bench().run("after", unread_copy()), 2))
    site.runner.contexts["context"] = {"a": "1"}

    reasons = site.build(placed(Bench().run("later", unread_copy(again=True)), 2))

    assert set(reasons) == {"make", "later"}
    assert reasons["later"] == "the instruction differs: after → later"
