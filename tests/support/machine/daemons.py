"""Daemons that build: `polyarch serve` in processes of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.machine.programs import Person

__all__ = ["daemon"]


@contextmanager
def daemon(owner: Person) -> Iterator[Path]:
    """Give the socket of a daemon that builds."""
    process = owner.start("serve", "--addr", f"unix://{owner.home}/s")
    try:
        assert process.stderr is not None
        assert process.stderr.readline()
        yield owner.home / "s"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
