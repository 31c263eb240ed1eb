"""The ssh agents and keys of a request, as daemons may use them: they have keys listed and sign with them, nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from polyarch.worker.agent import forward_agent
from polyarch.worker.keyagent import Agents

__all__ = ["LentAgents"]


class LentAgents(Mapping[str, str]):
    """Sockets by id; a context manager, which ends what it started when they were first asked for.

    `directory` is for the sockets. Asking for one raises as `Agents` does.
    """

    def __init__(
        self, sockets: Mapping[str, str], keys: Mapping[str, Sequence[str]], directory: Path
    ) -> None:
        self._directory = directory
        self._agents = Agents(sockets, keys, lambda: directory / f"agent-{len(self._lent)}")
        self._lent: dict[str, str] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def __getitem__(self, identifier: str) -> str:
        with self._lock:
            if identifier not in self._lent:
                agent = self._agents[identifier]
                path = self._directory / f"lent-{len(self._lent)}"
                self._stack.enter_context(forward_agent(agent, path))
                self._lent[identifier] = str(path)
            return self._lent[identifier]

    def __iter__(self) -> Iterator[str]:
        return iter(self._agents)

    def __len__(self) -> int:
        return len(self._agents)

    def __enter__(self) -> Self:
        self._stack.enter_context(self._agents)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
