"""What this room needs beside the program itself."""

from __future__ import annotations

from importlib.util import find_spec

from polyarch.errors import MachineError

__all__ = ["require_grpc"]


def require_grpc() -> None:
    """Raise MachineError where gRPC isn't installed."""
    if find_spec("grpclib") is None:
        raise MachineError(
            "builders on other machines need grpclib, which isn't installed",
            hint="pip install 'polyarch[buildkit]'",
        )
