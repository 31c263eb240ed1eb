"""The terminal display on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from polyarch.cli.display.base import Display
from polyarch.cli.display.display import open_display
from polyarch.errors import InputError
from tests.support.fakes.events import Told

RUN = Told("[2/2] RUN make")


class Pty:
    """A terminal of 60 columns and 20 lines, read to its end by a thread."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        self.stream: TextIO = os.fdopen(slave, "w")
        self.resize(60, 20)
        self._seen = bytearray()
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def resize(self, columns: int, lines: int) -> None:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, size)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:
                data = b""
            with self._news:
                self._seen += data
                self._news.notify_all()
            if not data:
                return

    def wait_for(self, text: bytes) -> None:
        with self._news:
            assert self._news.wait_for(lambda: text in self._seen, timeout=10)

    def close(self) -> str:
        self.stream.close()
        self._reader.join()
        os.close(self._master)
        return self._seen.decode().replace("\r\n", "\n")


@contextmanager
def terminal() -> Iterator[Pty]:
    pty = Pty()
    try:
        yield pty
    finally:
        if not pty.stream.closed:
            pty.close()


def test_a_short_build_is_drawn_once() -> None:
    with terminal() as pty:
        with open_display("auto", stream=pty.stream, environ={"NO_COLOR": "1"}) as sink:
            sink(RUN.step(0.0, 1.0))
        threads = [thread.name for thread in threading.enumerate()]
        out = re.sub(r"Building \d+\.\ds", "Building 0.0s", pty.close())

    assert out == (
        "\x1b[?25l\r[+] Building 0.0s (1/1) FINISHED\x1b[K\n"
        " => [2/2] RUN make                                     1.0s\x1b[K\n"
        "\x1b[J\x1b[?25h"
    )
    assert "display" not in threads


def test_a_longer_build_is_drawn_over() -> None:
    with terminal() as pty:
        with open_display("tty", stream=pty.stream, environ={"TTY_DISPLAY_RATE": "10"}) as sink:
            sink(RUN.step(0.0))
            sink(RUN.log(b"compiling", 1.0))
            pty.wait_for(b" => => # compiling")
            sink(RUN.step(0.0, 2.0))
            pty.wait_for(b"2.0s")
        out = pty.close()

    assert out.count("\x1b[?25l") == out.count("\x1b[?25h") > 1
    assert out.endswith(
        "\x1b[2A\r[+] Building " + out.rpartition("[+] Building ")[2],
    )
    assert " FINISHED" in out.rpartition("[+] Building ")[2]


def test_debug_expands_warnings_below_the_last_picture() -> None:
    warning = RUN.warning("Short", detail=("Why",), url="https://example.com/", excerpt="D:1\n")
    with terminal() as pty:
        with open_display("tty", stream=pty.stream, environ={}, debug=True) as sink:
            sink(RUN.step(0.0, 1.0))
            sink(warning)
        out = pty.close()

    assert " => WARN: Short" in out
    assert out.endswith(
        "\n \x1b[33m1 warning found:\n\x1b[0m - Short\nWhy\nMore info: https://example.com/\nD:1\n\n"
    )


def test_a_terminal_that_becomes_narrow() -> None:
    with terminal() as pty:
        with open_display("tty", stream=pty.stream, environ={"TTY_DISPLAY_RATE": "10"}) as sink:
            sink(RUN.step(0.0))
            pty.wait_for(b"RUN make")
            pty.resize(30, 20)
            # The header fits; the row of 59 cells now takes two lines.
            pty.wait_for(b"\x1b[3A\r")
        pty.close()


def test_failures_and_warnings_are_shown_at_the_end() -> None:
    with terminal() as pty:
        with open_display("tty", stream=pty.stream, environ={}) as sink:
            sink(RUN.step(0.0))
            sink(RUN.log(b"".join(b"%d\n" % number for number in range(20)), 0.5))
            sink(RUN.warning("Careful"))
            sink(RUN.step(0.0, 2.0, error="exit code: 1"))
        out = pty.close()

    lines = "".join(f"0.500 {number}\n" for number in range(20))
    assert out.endswith(
        f"------\n > [2/2] RUN make:\n{lines}------\n"
        "\n \x1b[33m1 warning found (use --debug to expand):\n\x1b[0m - Careful\n"
    )


def build_interrupted(sink: Display) -> None:
    with sink:
        sink(RUN.step(0.0))
        raise KeyboardInterrupt


def test_an_interrupt_leaves_a_whole_picture() -> None:
    with terminal() as pty:
        display = open_display("tty", stream=pty.stream, environ={"NO_COLOR": "1"})
        with pytest.raises(KeyboardInterrupt):
            build_interrupted(display)
        out = pty.close()

    assert " => CANCELED [2/2] RUN make" in out
    assert out.endswith("\x1b[?25h")


def test_tty_needs_a_terminal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream, pytest.raises(InputError) as raised:
        open_display("tty", stream=stream, environ={})

    assert str(raised.value) == "failed to get console: provided file is not a console"


def test_an_unknown_mode() -> None:
    with pytest.raises(InputError) as raised:
        open_display("fancy", stream=sys.stderr, environ={})

    assert str(raised.value) == "invalid progress mode fancy"


def test_rich_is_not_imported_for_a_short_build() -> None:
    program = (
        "import os, sys\n"
        "from tests.support.fakes.events import Told\n"
        "from polyarch.cli.display.display import open_display\n"
        "master, slave = os.openpty()\n"
        "with open_display('tty', stream=os.fdopen(slave, 'w'), environ={}) as sink:\n"
        "    sink(Told('RUN x').step(0.0, 1.0))\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'rich'])\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
