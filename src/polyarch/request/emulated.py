"""What came of an emulated step, as a value."""

from __future__ import annotations

from polyarch.record import frozen

__all__ = ["EmulatedStep"]


@frozen
class EmulatedStep:
    """A step that was emulated in this build.

    `natives` is how many programs had a native twin, 0 if nothing could run natively; `starts` is how often such
    programs were started natively, None if that can't be told. `seconds` is what it took by the clock and `cpu_seconds` what its processes took of the processors, None if the runtime doesn't tell.
    `emulated_seconds` is what it took the last time that nothing in it ran natively, None if that never was.
    `again` says why it was run a second time, with nothing native, "" if it wasn't.
    """

    name: str
    platform: str
    seconds: float
    natives: int = 0
    starts: int | None = None
    cpu_seconds: float | None = None
    emulated_seconds: float | None = None
    again: str = ""

    @property
    def saved_seconds(self) -> float | None:
        """What native programs spared by the clock, compared with an earlier run; None if nobody knows."""
        if self.natives == 0 or self.emulated_seconds is None:
            return None
        return self.emulated_seconds - self.seconds
