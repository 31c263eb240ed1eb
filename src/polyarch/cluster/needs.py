"""What this room needs beside the program itself."""

from __future__ import annotations

from importlib.util import find_spec

from polyarch.errors import MachineError

__all__ = ["require_dask"]


def require_dask() -> None:
    """Raise MachineError where Dask's `distributed` isn't installed."""
    if find_spec("distributed") is None:
        raise MachineError(
            "clusters need Dask's distributed, which isn't installed",
            hint="pip install 'polyarch[dask]'",
        )
