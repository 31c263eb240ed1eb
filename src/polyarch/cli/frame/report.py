"""How an error is shown, and what the program ends with because of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from polyarch.errors import REMOTE_STATUSES, Cancelled, InternalError, PolyarchError
from polyarch.paths import stands_in_for_buildx, state_directory
from polyarch.store.trouble import machine_trouble
from polyarch.text.shown import shown

__all__ = ["CommandFailed", "WrongCall", "report", "report_crash"]


class CommandFailed(PolyarchError):
    """An error with the command's own words before it; all else is as in the original."""

    def __init__(self, prefix: str, error: PolyarchError) -> None:
        super().__init__(f"{prefix}{error}", hint=error.hint, place=error.place)
        self.exit_status = error.exit_status
        self.told = error.told


class WrongCall(PolyarchError):
    """A complaint about the words of a command line; `usage` says what they may be."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


def _as_ours(error: BaseException, environ: Mapping[str, str]) -> PolyarchError:
    if isinstance(error, PolyarchError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("canceled")
    if (trouble := machine_trouble(error)) is not None:
        return trouble
    return report_crash(error, environ)


def report(error: BaseException, stderr: TextIO, environ: Mapping[str, str], *, debug: bool) -> int:
    """Show an error on `stderr` and return the exit status. BrokenPipeError is the user's `head`.

    The last line is the error, as callers show nothing else: what helps to understand it goes above.
    """
    if isinstance(error, BaseExceptionGroup):
        return max(report(each, stderr, environ, debug=debug) for each in error.exceptions)
    if isinstance(error, BrokenPipeError):
        return 1
    error = _as_ours(error, environ)
    if debug:
        stderr.write(_traceback(error))
    stderr.writelines(f"{shown(each)}\n" for each in error.told)
    if error.place is not None:
        stderr.write(shown(error.place.excerpt()))
    if isinstance(error, WrongCall):
        stderr.write(f"{error.usage}\n")
    if error.hint:
        stderr.write(f"hint: {shown(error.hint)}\n")
    stderr.write(f"ERROR: {shown(str(error))}\n")
    if error.exit_status in REMOTE_STATUSES and stands_in_for_buildx(environ):
        return 1  # which is all that callers of buildx know
    return error.exit_status


def report_crash(error: BaseException, environ: Mapping[str, str]) -> InternalError:
    """Keep the traceback of a bug in a file; return the error to show in its place."""
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    path = _save(_traceback(error), environ)
    kept = f"; {path} has the details" if path else "; --debug shows the details"
    crash = InternalError(f"this is a bug of polyarch: {message}", hint=f"please report it{kept}")
    crash.__cause__ = error
    return crash


def _traceback(error: BaseException) -> str:
    from traceback import format_exception  # noqa: PLC0415 for those who see one only

    return "".join(format_exception(error))


def _save(text: str, environ: Mapping[str, str]) -> str:
    """Write a text into the first directory that takes it; return the file's path, or ""."""
    name = time.strftime(f"crash-%Y%m%d-%H%M%S-{os.urandom(6).hex()}.txt")
    for directory in _crash_directories(environ):
        try:
            _make_private(directory)
            path = directory / name
            # A traceback may quote what was built: it is for nobody else's eyes.
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(text, encoding="utf-8", errors="replace")
        except OSError:
            continue
        return str(path)
    return ""


def _make_private(directory: Path) -> None:
    """Make a directory, and the one that it is in, for their owner only; those that are there stay."""
    for each in (directory.parent, directory):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)


def _crash_directories(environ: Mapping[str, str]) -> Iterator[Path]:
    yield state_directory(environ) / "crashes"
    yield Path(environ.get("TMPDIR") or "/tmp")  # noqa: S108 a last resort; the name isn't guessable
