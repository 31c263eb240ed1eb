"""Records that are kept while builds go on, and found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import Cancelled, InputError, MachineError, NotFound
from polyarch.history.record import BuildRecord, Counts, Exporter, ResultInfo, State
from polyarch.history.recording import recording
from polyarch.history.records import History
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import Event, LogEvent, StepEvent, WarningEvent
from tests.support.fakes.events import Clock

ONE, TWO = sha256(b"1"), sha256(b"2")
RECORD = BuildRecord(
    ref="abc",
    builder="b",
    node="b0",
    attributes={"target": "app"},
    exporters=(Exporter(type="image", attributes={"push": "true"}),),
    platform="linux/amd64",
    state={"LocalPath": "/src"},
)
IMAGE = Descriptor(media_type="t", digest=ONE, size=3, annotations={"a": "b"})


def keep(directory: Path, *, ref: str = "abc", builder: str = "b", created: float = 1e9) -> None:
    """Keep the record of a build that did nothing."""
    clock = Clock()
    clock.now = created
    record = BuildRecord(ref=ref, builder=builder, node="n")
    with recording(directory, record, lambda _: None, clock=clock):
        clock.now += 1
    os.utime(directory / f"{ref}.json", (created, created))


def test_a_build_that_ends_well_is_found_with_all_that_came_of_it(tmp_path: Path) -> None:
    clock, told = Clock(), list[Event]()
    events: list[Event] = [
        StepEvent(step=ONE, name="one", started=clock.now),
        LogEvent(step=ONE, stream=1, data=b"hello\n", time=clock.now),
        StepEvent(step=ONE, name="one", started=clock.now, completed=clock.now),
        StepEvent(step=TWO, name="two", cached=True),
        WarningEvent(step=TWO, short="hm"),
    ]
    with recording(tmp_path / "history", RECORD, told.append, clock=clock) as kept:
        running = History(tmp_path / "history", "b").get("abc")
        for event in events:
            kept(event)
        clock.now += 2.5
        kept.note({"image.name": "x"}, ResultInfo(results=(IMAGE,)))

    history = History(tmp_path / "history", "b")
    found = history.get("b/b0/abc")

    assert told == events
    assert running.status is State.RUNNING
    assert found.status is State.COMPLETED
    assert found.seconds(0) == 2.5
    assert found.counts == Counts(total=2, completed=1, cached=1, warnings=1)
    assert found.response == {"image.name": "x"}
    assert found.result == ResultInfo(results=(IMAGE,))
    assert (found.attributes, found.exporters) == (RECORD.attributes, RECORD.exporters)
    assert (found.state, found.platform) == (RECORD.state, RECORD.platform)
    assert [event for _, event in history.events(found)] == events
    assert found.logs is not None
    assert found.logs.digest == sha256(history.logs(found).read_bytes())
    assert (tmp_path / "history").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "history").iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (MachineError("no room"), State.FAILED, "no room"),
        (Cancelled("stop"), State.CANCELED, "context canceled"),
    ],
)
def test_how_a_build_failed(tmp_path: Path, error: Exception, state: State, message: str) -> None:
    def build() -> None:
        with recording(tmp_path, RECORD, lambda _: None) as kept:
            kept(StepEvent(step=TWO, name="two", error="exit code 1"))
            raise error

    with pytest.raises(type(error)):
        build()

    found = History(tmp_path).get()

    assert (found.status, found.error and found.error.message) == (state, message)
    assert found.error is not None
    assert found.error.step == TWO


def test_a_build_that_was_killed_is_not_running(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with recording(tmp_path, RECORD, lambda _: None):
            os._exit(1)
    os.waitpid(child, 0)

    found = History(tmp_path).get("abc")

    assert found.status is State.FAILED
    assert found.error is not None
    assert found.error.message == "the process that built was killed"


def test_what_steps_print_is_clipped_and_without_masking_not_kept(tmp_path: Path) -> None:
    with recording(tmp_path, RECORD, lambda _: None) as kept:
        kept(StepEvent(step=ONE, name="one"))
        for _ in range(3):
            kept(LogEvent(step=ONE, stream=1, data=bytes(1 << 20), time=0))
    clipped = History(tmp_path).logs(RECORD).stat().st_size
    History(tmp_path).remove(History(tmp_path).get())
    with recording(tmp_path, RECORD, lambda _: None, keeps_logs=False) as kept:
        kept(LogEvent(step=ONE, stream=1, data=b"secret", time=0))

    assert 2 << 20 < clipped < (2 << 20) + 1000
    assert b"secret" not in History(tmp_path).logs(RECORD).read_bytes()


def test_where_nothing_can_be_written_the_build_goes_on(tmp_path: Path) -> None:
    (tmp_path / "history").touch()

    with recording(tmp_path / "history", RECORD, lambda _: None) as kept:
        kept(StepEvent(step=ONE, name="one"))

    assert History(tmp_path / "history").all() == ()


def test_the_last_fifty_of_two_days_are_kept(tmp_path: Path) -> None:
    now = 1_700_000_000
    for number in range(53):
        keep(tmp_path, ref=f"r{number:02}", created=now - 60 + number)
    keep(tmp_path, ref="old", created=now - 3 * 24 * 3600)
    keep(tmp_path, ref="new", created=now)

    kept = {record.ref for record in History(tmp_path).all()}

    assert kept == {"new", *(f"r{number:02}" for number in range(4, 53))}
    assert len(os.listdir(tmp_path)) == 2 * 50


def test_builds_are_found_by_name_by_number_and_by_builder(tmp_path: Path) -> None:
    for number, (ref, builder) in enumerate([("one", "a"), ("two", "b"), ("three", "a")]):
        keep(tmp_path, ref=ref, builder=builder, created=1e9 + number)
    history = History(tmp_path, "a")

    assert [each.ref for each in history.all()] == ["three", "one"]
    assert [history.get(name).ref for name in ("", "^0", "^1", "a/n/one", "one")] == [
        "three", "three", "one", "one", "one"
    ]  # fmt: skip
    for name, message in [
        ("two", 'no record found for ref "two"'),
        ("b/n/one", 'no record found for ref "b/n/one"'),
        ("../one", 'no record found for ref "../one"'),
        ("^2", "no completed build found with offset 1"),
    ]:
        with pytest.raises(NotFound) as caught:
            history.get(name)
        assert str(caught.value) == message
    with pytest.raises(InputError, match="invalid offset"):
        history.get("^x")
    with pytest.raises(NotFound, match="no records found"):
        History(tmp_path / "none").get()


def test_a_record_that_can_not_be_read_is_none(tmp_path: Path) -> None:
    keep(tmp_path)
    (tmp_path / "abc.json").write_text('{"Ref": "abc", "logs": {"digest": 3}}')

    assert History(tmp_path).all() == ()


def test_a_build_that_goes_on_is_not_removed(tmp_path: Path) -> None:
    with recording(tmp_path, RECORD, lambda _: None):
        history = History(tmp_path)
        with pytest.raises(InputError, match="still running"):
            history.remove(history.get())
