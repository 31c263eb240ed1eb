"""What this room needs beside the program itself."""

from __future__ import annotations

from polyarch.errors import MachineError
from polyarch.late import is_there

__all__ = ["require_grpc"]


def require_grpc() -> None:
    """Raise MachineError where gRPC isn't installed."""
    if not is_there("grpclib"):
        raise MachineError(
            "builders on other machines need grpclib, which isn't installed",
            hint="pip install 'polyarch[buildkit]'",
        )
