"""Which lines are a crash of the emulator, and when they count."""

from __future__ import annotations

import pytest

from polyarch.worker.emulated.crash import CrashWatch

SIGNAL = b"qemu: uncaught target signal 11 (Segmentation fault) - core dumped\n"


def crash_of(*pieces: bytes) -> str:
    watch = CrashWatch()
    for piece in pieces:
        watch.feed(2, piece)
    return watch.crash


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (SIGNAL, "qemu: uncaught target signal 11 (Segmentation fault)"),
        (
            b"qemu: uncaught target signal 4 (Illegal instruction) - core dumped\n",
            "qemu: uncaught target signal 4 (Illegal instruction)",
        ),
        (b"qemu: unhandled CPU exception 0x5 - aborting\n", "qemu: unhandled CPU exception 0x5"),
        (b"QEMU internal SIGSEGV {code=MAPERR, addr=0x20}\n", "QEMU internal SIGSEGV"),
        (
            b"**\nERROR:../accel/tcg/cpu-exec.c:954:cpu_exec_setjmp: assertion failed\n",
            "ERROR:../accel/tcg/cpu-exec.c:954",
        ),
    ],
)
def test_what_the_emulator_says(line: bytes, said: str) -> None:
    assert crash_of(b"compiling\n" + line).startswith(said)


@pytest.mark.parametrize(
    "line",
    [
        b"qemu: uncaught target signal 6 (Aborted) - core dumped\n",
        b"qemu: uncaught target signal 8 (Floating point exception) - core dumped\n",
        b"Segmentation fault\n",
        b"qemu-aarch64: Could not open '/lib/ld-linux-aarch64.so.1'\n",
        b"checking for qemu... no\n",
    ],
)
def test_what_programs_do_themselves(line: bytes) -> None:
    assert crash_of(line) == ""


def test_a_line_that_comes_in_pieces() -> None:
    watch = CrashWatch()
    for byte in SIGNAL:
        watch.feed(2, bytes((byte,)))

    assert watch.crash.startswith("qemu: uncaught target signal 11")
    assert watch.signal == 11


def test_streams_are_apart() -> None:
    watch = CrashWatch()
    watch.feed(2, SIGNAL[:20])
    watch.feed(1, SIGNAL[20:])

    assert watch.crash == ""


def test_what_was_survived_does_not_count() -> None:
    assert crash_of(SIGNAL, b"x" * 4000) != ""
    assert crash_of(SIGNAL, b"x" * 5000) == ""
    assert crash_of(SIGNAL, b"x" * 5000, SIGNAL) != ""
