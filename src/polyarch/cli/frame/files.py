"""Files that a command leaves behind for scripts."""

from __future__ import annotations

from pathlib import Path

from polyarch.errors import MachineError
from polyarch.paths import is_device, replacing

__all__ = ["write_file"]

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


def write_file(path: str, text: str, *, make_directory: bool = False) -> None:
    """Write a file at once, readable by all; `make_directory` makes its directory first. Raises MachineError.

    What is there already and is no file, such as `/dev/stdout` or a pipe, is written into: a file in
    its place would be the end of it.
    """
    target = Path(path)
    if target.is_dir():
        raise MachineError("cannot write to a directory", hint=f"{path} is one")
    if is_device(target):
        _write_into(target, text)
        return
    try:
        if make_directory:
            target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as aside:
            aside.write_text(text, encoding="utf-8")
            aside.chmod(0o644)
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror}") from error


def _write_into(path: Path, text: str) -> None:
    try:
        # Opened anew, a file behind them would be written from its start.
        with open(_STREAMS.get(str(path), path), "ab", closefd=str(path) not in _STREAMS) as stream:
            stream.write(text.encode())
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror}") from error
