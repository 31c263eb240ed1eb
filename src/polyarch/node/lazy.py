"""What runs programs, made when the first program is run: an unchanged build runs none."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from polyarch.runtime.sandbox.spawner import Spawner

if TYPE_CHECKING:
    from polyarch.namespaces.userns import EngineNamespaces
    from polyarch.node.hands import Hands
    from polyarch.store.store import Store

__all__ = ["LazyHands"]


class LazyHands:
    """Makes the hands of a node once, in whichever thread needs them first."""

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
        self._hands: Hands | None = None

    def get(self) -> Hands:
        """Return the hands. Raises NoRuntime."""
        with self._lock:
            if self._hands is None:
                from polyarch.node.hands import open_hands  # noqa: PLC0415 the point of it all

                self._hands = open_hands(
                    self._store, self._namespaces, self._spawner, self._environ
                )
            return self._hands

    def close(self) -> None:
        """End what the hands hold."""
        if self._hands is not None:
            self._hands.close()
