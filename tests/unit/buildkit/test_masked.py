"""Secrets in what the steps of daemons print."""

from __future__ import annotations

from polyarch.buildkit.masked import MaskedLogs
from polyarch.digest import sha256
from polyarch.progress import Event, LogEvent, StepEvent
from polyarch.worker.masking import Masker

ONE, TWO = sha256(b"one"), sha256(b"two")


def test_pieces_of_a_secret_are_masked_together() -> None:
    masker, events = Masker(), list[Event]()
    masker.teach(b"s3cr3t")
    logs = MaskedLogs(events.append, masker)
    for step, data in (
        (ONE, b"it is s3"),
        (TWO, b"s3"),
        (ONE, b"cr3t.\n"),
        (TWO, b" and more s3cr"),
    ):
        logs(LogEvent(step=step, stream=1, data=data, time=1.0))
    logs(StepEvent(step=TWO, name="two", completed=2.0, error="said s3cr3t"))
    logs.end()

    def printed(step: str) -> bytes:
        logged = (each for each in events if isinstance(each, LogEvent) and each.step == step)
        return b"".join(each.data for each in logged)

    assert (printed(ONE), printed(TWO)) == (b"it is ***.\n", b"s3 and more s3cr")
    assert isinstance(events[-1], StepEvent)
    assert events[-1].error == "said ***"


def test_the_end_of_a_log_is_not_lost() -> None:
    masker, events = Masker(), list[Event]()
    masker.teach(b"s3cr3t")
    logs = MaskedLogs(events.append, masker)

    logs(LogEvent(step=ONE, stream=2, data=b"s3", time=1.0))
    first = len(events)
    logs.end()

    assert first == 0
    assert [each.data for each in events if isinstance(each, LogEvent)] == [b"s3"]
