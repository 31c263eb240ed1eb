"""Steps to tell displays of, on a clock that is moved by hand."""

from __future__ import annotations

import io

from polyarch.digest import Digest, sha256
from polyarch.progress import LogEvent, StatusEvent, StepEvent, WarningEvent

__all__ = ["START", "ByteStream", "Clock", "Told"]

START = 1_700_000_000.0


class Clock:
    """Seconds since the epoch; stands still."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class ByteStream(io.TextIOWrapper):
    """A text stream that keeps what is written; no terminal."""

    def __init__(self) -> None:
        self.data = io.BytesIO()
        super().__init__(self.data, encoding="utf-8", newline="\n")

    def text(self) -> str:
        return self.data.getvalue().decode(errors="replace")


class Told:
    """A step, and what may be told of it; times are seconds after START."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.digest: Digest = sha256(name.encode())

    def step(
        self,
        started: float | None = 0.0,
        completed: float | None = None,
        *,
        cached: bool = False,
        error: str = "",
    ) -> StepEvent:
        return StepEvent(
            step=self.digest,
            name=self.name,
            started=_at(started),
            completed=_at(completed),
            cached=cached,
            error=error,
        )

    def status(
        self,
        identifier: str,
        current: int = 0,
        total: int = 0,
        started: float | None = 0.0,
        completed: float | None = None,
    ) -> StatusEvent:
        return StatusEvent(
            step=self.digest,
            id=identifier,
            current=current,
            total=total,
            started=_at(started),
            completed=_at(completed),
        )

    def log(self, data: bytes, time: float = 0.0, stream: int = 1) -> LogEvent:
        return LogEvent(step=self.digest, stream=stream, data=data, time=START + time)

    def warning(self, short: str, **more: object) -> WarningEvent:
        return WarningEvent(step=self.digest, short=short, **more)  # type: ignore[arg-type]


def _at(seconds: float | None) -> float | None:
    return None if seconds is None else START + seconds
