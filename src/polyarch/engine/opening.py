"""How an engine is begun: what it forks comes first, before the modules that it is made of are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.namespaces.userns import EngineNamespaces
from polyarch.runtime.sandbox.spawner import Spawner

if TYPE_CHECKING:
    from polyarch.engine.engine import Engine

__all__ = ["open_engine"]


@contextmanager
def open_engine(
    root: Path, namespaces: EngineNamespaces, environ: Mapping[str, str] = os.environ
) -> Iterator[Engine]:
    """Open the store at `root` and get ready to build; to be called in the engine, without threads.

    The process is to end with it, by `os._exit`. Raises StoreError.
    """
    spawner = Spawner()
    from polyarch.engine.engine import engine_with  # noqa: PLC0415 the point of this module

    with engine_with(spawner, root, namespaces, environ) as engine:
        yield engine
