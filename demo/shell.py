"""A shell of our own: each command is shown before its output, in surroundings that vanish."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demo.interrupts import hold_interrupts

__all__ = ["CommandFailed", "Shell", "say"]

_PATIENCE = 30.0


class CommandFailed(Exception):
    """A command ended with another status than 0."""


def say(text: str = "") -> None:
    """Print a line, before anything that a command prints later."""
    print(text, flush=True)


class Shell:
    """Runs commands in `directory` with the variables of `environ`."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self.directory = directory
        self.environ = environ

    def run(self, *words: str) -> str:
        """Show and run a command; return what it printed to its standard output.

        Raises CommandFailed. When interrupted, waits until the command has put its things in order.
        """
        say(f"$ {shlex.join(words)}")
        began = time.monotonic()
        printed = []
        with self._started(words) as child:
            assert child.stdout is not None
            for line in child.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                printed.append(line)
        say(f"  ({time.monotonic() - began:.1f} s)\n")
        if child.returncode:
            raise CommandFailed(f"{shlex.join(words)}: exit status {child.returncode}")
        return "".join(printed)

    @contextmanager
    def _started(self, words: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
        child: subprocess.Popen[str] | None = None
        try:
            with hold_interrupts():
                child = subprocess.Popen(
                    words,
                    cwd=self.directory,
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=sys.stdout.fileno(),
                    text=True,
                    errors="replace",
                )
            with child:
                yield child
        finally:
            if child is not None and child.poll() is None:
                child.terminate()
                try:
                    child.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
