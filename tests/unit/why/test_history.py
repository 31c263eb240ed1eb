"""What is kept of builds: written, bounded, forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import polyarch.why.history as history_module
from polyarch.digest import sha256
from polyarch.request.explanation import Cause, CauseKind, Explanation, Outcome
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerRef, LayerStack
from polyarch.store.database import Database
from polyarch.why.history import History, Project, TraceRow
from polyarch.why.trace import Slot, Trace

APP = Project(context="/app")
OTHER = Project(context="/other", dockerfile="/other/Dockerfile.test")
LISTING = {"a": (0o100000, 0o644, 0, 0, b"12345678", bytes(4))}
EXPLANATION = Explanation(
    step=sha256(b""),
    name="RUN a",
    outcome=Outcome.RAN,
    causes=(Cause(kind=CauseKind.NEW),),
    through=("RUN b",),
)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(tmp_path: Path, clock: Clock) -> Iterator[History]:
    database = Database(tmp_path / "state.db")
    yield History(database, clock=clock)
    database.close()


def trace(number: int = 1, op: str = "op") -> Trace:
    slot = Slot(platform="linux/amd64", stage="0", number=number, kind="FileOp")
    return Trace(slot=slot, op=sha256(op.encode()), text="COPY a /", form={"made of": op})


def keep(history: History, made: Trace, project: Project = APP, *names: str) -> None:
    """Keep what a step made; `names` are the snapshots of its result, which it lacks without any."""
    layers = tuple(LayerRef(snapshot=SnapshotID(name)) for name in names)
    result = LayerStack(layers=layers).to_json() if names else ""
    row = TraceRow(trace=made, listings={1: LISTING, 2: None}, result=result)
    history.save(project, [row], [EXPLANATION])


def identity_of(*names: str) -> str:
    return LayerStack(layers=tuple(LayerRef(snapshot=SnapshotID(name)) for name in names)).identity


def test_what_is_kept_is_found_again(history: History) -> None:
    keep(history, trace())

    assert history.traces(APP) == (trace(),)
    assert history.listing(APP, trace(), 1) == LISTING
    assert history.listing(APP, trace(), 2) is None
    (build,) = history.builds()
    assert (build.project, build.steps) == (APP, (EXPLANATION,))


def test_projects_are_apart(history: History) -> None:
    keep(history, trace())

    assert history.traces(OTHER) == ()
    assert history.equal_ops(trace().op) == ((APP, trace()),)


def test_the_newest_build_comes_first(history: History) -> None:
    keep(history, trace(), OTHER)
    keep(history, trace())

    assert [build.project for build in history.builds()] == [APP, OTHER]


def test_the_last_few_times_of_a_step_are_kept(history: History) -> None:
    for op in "abcdef":
        keep(history, trace(op=op))

    kept = [each.form["made of"] for each in history.traces(APP)]
    assert kept == ["f", "e", "d", "c"]


def test_a_step_without_a_result_has_not_ended(history: History) -> None:
    keep(history, trace())

    assert [each.result for each in history.traces(APP)] == [""]


def test_a_collected_result_takes_its_listing_along(history: History) -> None:
    keep(history, trace(1), APP, "step-1")
    keep(history, trace(2), APP, "step-1", "step-2")

    history.forget_all([identity_of("step-1", "step-2")])

    assert {each.slot.number: each.is_collected for each in history.traces(APP)} == {
        1: False,
        2: True,
    }
    assert history.listing(APP, trace(1), 1) == LISTING
    assert history.listing(APP, trace(2), 1) is None


def test_what_was_said_of_a_build_goes_with_its_last_result(history: History) -> None:
    keep(history, trace(1), APP, "step-1")
    keep(history, trace(2), OTHER, "step-2")

    history.forget_all([identity_of("step-1")])

    assert [build.project for build in history.builds()] == [OTHER]


def test_old_traces_are_dropped(history: History, clock: Clock) -> None:
    keep(history, trace())
    clock.now += 61 * 24 * 3600
    keep(history, trace(), OTHER)

    assert history.traces(APP) == ()


def test_listings_are_bounded_in_bytes(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(history, trace())
    monkeypatch.setattr(history_module, "MOST_LISTED", 60)
    keep(history, trace(), OTHER)

    assert history.listing(OTHER, trace(), 1) == LISTING
    assert history.listing(APP, trace(), 1) is None
    assert history.traces(APP) == (trace(),)


def test_traces_are_bounded_in_number(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "MOST_TRACES", 2)
    for number in range(4):
        keep(history, trace(number))

    assert sorted(each.slot.number for each in history.traces(APP)) == [2, 3]


def test_builds_are_bounded_in_number(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "MOST_BUILDS", 1)
    keep(history, trace())
    keep(history, trace(), OTHER)

    assert [build.project for build in history.builds()] == [OTHER]


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    database = Database(tmp_path / "other.db")
    history = History(database)
    keep(history, trace())
    database.execute("UPDATE traces_2 SET body = 'no JSON', listings = x'0102'")
    database.execute("UPDATE explained_1 SET body = '[1]'")

    assert (history.traces(APP), history.builds()) == ((), ())
    assert history.listing(APP, trace(), 1) is None
    database.close()
