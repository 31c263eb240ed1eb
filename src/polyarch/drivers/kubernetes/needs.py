"""What this room needs beside the program itself."""

from __future__ import annotations

from polyarch.errors import MachineError
from polyarch.late import is_there

__all__ = ["require_kubernetes"]


def require_kubernetes() -> None:
    """Raise MachineError where the client library of Kubernetes isn't installed."""
    if not is_there("kubernetes"):
        raise MachineError(
            "builders of the driver kubernetes need its client library, which isn't installed",
            hint="pip install 'polyarch[kubernetes]'",
        )
