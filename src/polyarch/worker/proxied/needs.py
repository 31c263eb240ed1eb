"""What this room needs beside the program itself."""

from __future__ import annotations

from polyarch.errors import MachineError
from polyarch.late import is_there

__all__ = ["require_signing"]


def require_signing() -> None:
    """Raise MachineError where the library that signs certificates isn't installed."""
    if not is_there("cryptography"):
        raise MachineError(
            "--proxy-network needs the package cryptography",
            hint="install it: pip install 'polyarch[proxy]'",
        )
