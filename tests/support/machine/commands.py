"""Commands called within this process (or a child of it), with what they print."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from polyarch.cli.app import main

__all__ = ["Printed", "call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


def call(*words: str, environ: Mapping[str, str], stdin: str = "") -> Printed:
    """Call polyarch with just this environment (and PATH); not for commands that need the engine."""
    written, err = io.BytesIO(), io.StringIO()
    # Some write bytes.
    out = io.TextIOWrapper(written, encoding="utf-8", write_through=True)
    with _replaced(environ, io.StringIO(stdin), out, err):
        status = main(words)
    return Printed(status=status, out=written.getvalue().decode(), err=err.getvalue())


@contextmanager
def _replaced(
    environ: Mapping[str, str], stdin: TextIO, out: TextIO, err: TextIO
) -> Iterator[None]:
    streams, variables = (sys.stdin, sys.stdout, sys.stderr), dict(os.environ)
    sys.stdin, sys.stdout, sys.stderr = stdin, out, err
    os.environ.clear()
    os.environ.update({"PATH": variables["PATH"], **environ})
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        os.environ.clear()
        os.environ.update(variables)
