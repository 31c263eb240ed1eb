"""What runs programs, made when the first program is run: an unchanged build runs none."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from polyarch.runtime.sandbox.spawner import Spawner

if TYPE_CHECKING:
    from polyarch.engine.programs import Programs
    from polyarch.namespaces.userns import EngineNamespaces
    from polyarch.store.store import Store

__all__ = ["LazyPrograms"]


class LazyPrograms:
    """Makes them once, in whichever thread needs them first."""

    def __init__(
        self,
        *,
        store: Store,
        namespaces: EngineNamespaces,
        spawner: Spawner,
        environ: Mapping[str, str],
    ) -> None:
        self._store = store
        self._namespaces = namespaces
        self._spawner = spawner
        self._environ = environ
        self._lock = threading.Lock()
        self._programs: Programs | None = None

    def get(self) -> Programs:
        """Return what runs programs. Raises NoRuntime."""
        with self._lock:
            if self._programs is None:
                self._spawner.prepare()
                from polyarch.engine.programs import open_programs  # noqa: PLC0415 the point of it all

                self._programs = open_programs(
                    self._store, self._namespaces, self._spawner, self._environ
                )
            return self._programs

    def close(self) -> None:
        """End what they hold."""
        if self._programs is not None:
            self._programs.close()
