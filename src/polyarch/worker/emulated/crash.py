"""A crash of the emulator, told from a failure of the program's own: by what QEMU prints.

A program that is emulated and dies of a fault (SIGSEGV, SIGILL, ...) dies by QEMU's hand, which says so. That may
be the program's own fault; but what QEMU gets wrong looks no different, so it counts as a crash. A program that
ends with such a status by itself, or is killed by a signal that is sent, has no such line: that is its own failure.
SIGABRT is what programs end themselves by, and counts only if QEMU aborts.

Source: QEMU, linux-user/signal.c (dump_core_and_abort), cpu_loop of its targets, accel/tcg.
"""

from __future__ import annotations

from polyarch.pattern import pattern

__all__ = ["CrashWatch"]

_NEAR = 4096
"""Bytes before the end of the output in which a crash counts: one of long ago was survived."""
_LONGEST = 512
"""Bytes of a message; as many are kept of one piece of output for the next."""
_MARKS = (b"qemu", b"QEMU", b"tcg", b"TCG")
_SIGNAL = pattern(rb"qemu: uncaught target signal (\d+) \([^)\n]*\)")
_FAULTS = frozenset({4, 5, 7, 10, 11, 12, 31})
"""SIGILL, SIGTRAP, SIGBUS, SIGSEGV and SIGSYS, by the numbers of all targets."""
_OWN = pattern(
    rb"QEMU internal SIG\w+[^\n]{0,80}|qemu: unhandled CPU exception[^\n]{0,40}"
    rb"|qemu(?:-[\w-]+)?: [^\n]{0,200}Assertion [^\n]{0,200} failed"
    rb"|ERROR:[^\n]{0,80}(?:accel/tcg|tcg/|linux-user/|target/)[^\n]{0,200}"
    rb"|qemu(?:-[\w-]+)?: Unable to (?:reserve|find)[^\n]{0,120}guest"
)


class CrashWatch:
    """Looks at the output of one step as it comes."""

    def __init__(self) -> None:
        self._size = 0
        self._kept: dict[int, bytes] = {}
        self._found = ""
        self._at = 0
        self.signal = 0
        """The number of the signal that QEMU has said, 0 if it said none."""

    def feed(self, stream: int, data: bytes) -> None:
        """Look at a piece of output."""
        self._size += len(data)
        window = self._kept.get(stream, b"") + data
        self._kept[stream] = window[-_LONGEST:]
        if any(mark in window for mark in _MARKS):
            self._look(window)

    def _look(self, window: bytes) -> None:
        for match in _SIGNAL.finditer(window):
            if int(match[1]) in _FAULTS:
                self._note(match[0], len(window) - match.end(), int(match[1]))
        for match in _OWN.finditer(window):
            self._note(match[0], len(window) - match.end())

    def _note(self, message: bytes, behind: int, signal: int = 0) -> None:
        self._found = message.decode(errors="replace")
        self._at = self._size - behind
        self.signal = signal

    @property
    def crash(self) -> str:
        """What QEMU has said at the end of the output, "" if nothing."""
        return self._found if self._found and self._size - self._at <= _NEAR else ""
