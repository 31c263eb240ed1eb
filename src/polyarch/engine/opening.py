"""Opening an engine: what it forks goes first, before most of the program is loaded.

What is forked from a small process is forked quickly, and so are the keepers and steps that come from it.
"""

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

    The process is to end with it. Raises StoreError, NoRuntime.
    """
    spawner = Spawner()
    from polyarch.engine.engine import engine_at  # noqa: PLC0415 see above

    with engine_at(root, namespaces, spawner, environ) as engine:
        yield engine
