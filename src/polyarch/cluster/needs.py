"""What this room needs beside the program itself."""

from __future__ import annotations

from polyarch.errors import MachineError
from polyarch.late import is_there

__all__ = ["require_dask"]


def require_dask() -> None:
    """Raise MachineError where Dask's `distributed` isn't installed."""
    if not is_there("distributed"):
        raise MachineError(
            "clusters need Dask's distributed, which isn't installed",
            hint="pip install 'polyarch[dask]'",
        )
