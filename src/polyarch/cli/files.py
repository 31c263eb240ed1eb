"""Files that a command leaves behind for scripts."""

from __future__ import annotations

import os
from pathlib import Path

from polyarch.errors import MachineError

__all__ = ["write_file"]


def write_file(path: str, text: str) -> None:
    """Write a file at once, readable by all. Raises MachineError."""
    target = Path(path)
    aside = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.chmod(0o644)
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise MachineError(f"can't write {path}: {error.strerror}") from error
