"""What a file of a secret must be, found out before any step asks for it. Source: behaviour of docker buildx."""

from __future__ import annotations

import os

from polyarch.errors import InputError

__all__ = ["SECRET_LIMIT", "check_secret_file"]

SECRET_LIMIT = 500 << 10
"""Bytes of the largest secret: that of BuildKit."""


def check_secret_file(identifier: str, path: str) -> None:
    """Raise InputError for a file that no step could read, or that is too large."""
    try:
        size = os.stat(path).st_size
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InputError(f"failed to stat {path}: stat {path}: {reason}") from error
    if size > SECRET_LIMIT:
        raise InputError(f"secret {identifier} too big. max size {SECRET_LIMIT >> 10}KB")
