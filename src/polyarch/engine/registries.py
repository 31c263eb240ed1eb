"""Registries as the user has set them up.

Apart from the engine: who looks at an image there needs no store, no solver and no namespaces.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import load_hosts
from polyarch.registry.transport import Transport

__all__ = ["open_transport"]


def open_transport(environ: Mapping[str, str] = os.environ) -> Transport:
    """Return what speaks to registries, with the user's settings and credentials; a context manager."""
    return Transport(load_hosts(environ), Credentials(environ))
