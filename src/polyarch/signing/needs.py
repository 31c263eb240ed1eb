"""What signatures need of others' libraries, and what is said where they aren't installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.errors import MachineError

__all__ = ["needing_keys", "needing_sigstore"]


@contextmanager
def needing_keys() -> Iterator[None]:
    """Import what keys need inside. Raises MachineError."""
    try:
        yield
    except ImportError as error:
        raise MachineError(
            "signatures by keys need the libraries cryptography and PyNaCl",
            hint="install them with polyarch: pip install 'polyarch[sign]'",
        ) from error


@contextmanager
def needing_sigstore() -> Iterator[None]:
    """Import what identities need inside. Raises MachineError."""
    try:
        yield
    except ImportError as error:
        raise MachineError(
            "signatures by identities need the library sigstore",
            hint="install it with polyarch: pip install 'polyarch[sigstore]'",
        ) from error
