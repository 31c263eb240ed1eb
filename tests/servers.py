"""The registry that tests push to and pull from."""

from __future__ import annotations

from tools.registry import RealRegistry, free_port, real_registry

__all__ = ["RealRegistry", "free_port", "real_registry"]
