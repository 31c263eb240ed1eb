"""What a build tells of why its steps ran; loaded in full only when one runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.errors import StoreError
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.progress import Sink, StatusEvent
from polyarch.record import field, frozen, mutable
from polyarch.request import BuildRequest, is_address
from polyarch.solver.facts import Facts, Observer
from polyarch.store.store import Store
from polyarch.worker.worker import Worker

if TYPE_CHECKING:
    from polyarch.explanation import Explanation
    from polyarch.why.explainer import Explainer

__all__ = ["Telling", "place_of"]


def _no_number(_step: Digest) -> int:
    return 0


def place_of(value: str) -> str:
    """Return a build context or a Dockerfile as builds are told apart by it.

    A folder or a file is its path, an address has lost the login that it may hold.
    """
    # For builds in which a step runs.
    from polyarch.why.trace import scrubbed  # noqa: PLC0415

    is_path = value not in {"", "-"} and not is_address(value)
    return os.path.realpath(value) if is_path else scrubbed(value)


@mutable
class Telling:
    """What is told of one build.

    With `live`, each step says why it runs as it begins. `number` gives a step's number in the display.
    `found` are the explanations, once the steps have ended; there are none if all were cached.
    """

    live: bool = False
    number: Callable[[Digest], int] = _no_number
    found: tuple[Explanation, ...] = ()
    has_ended: bool = False
    request: BuildRequest | None = None

    def asked_for(self, request: BuildRequest) -> None:
        """Take what the build was asked for."""
        self.request = request

    def observer(self, graph: Graph, store: Store, worker: Worker, sink: Sink) -> Observer:
        """Return what is told of the steps."""
        return _Observer(telling=self, graph=graph, store=store, worker=worker, sink=sink)


@frozen
class _Observer:
    telling: Telling
    graph: Graph
    store: Store
    worker: Worker
    sink: Sink
    _made: list[Explainer] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def runs(self, vertex: Vertex, facts: Callable[[Vertex], Facts], /) -> None:
        """Say why a step runs, if that is wanted at once."""
        if not self.telling.live or not vertex.name:
            return
        explanation = self._explainer().explain(vertex, facts)
        now = time.time()
        for line in (explanation.text(), *explanation.details()):
            self.sink(
                StatusEvent(step=vertex.digest, id=line, started=now, completed=now, is_remark=True)
            )

    def ended(self, steps: Iterable[Facts], /) -> None:
        """Keep what is known of all steps."""
        self.telling.has_ended = True
        # The results are there, and worth more than the reasons for them: a store that has no room left
        # for these may have enough for all that is to come.
        with suppress(StoreError):
            self.telling.found = self._explainer().end(steps, number=self.telling.number)

    def _explainer(self) -> Explainer:
        # An unchanged build needs none of it.
        from polyarch.why.explainer import Explainer, Forced  # noqa: PLC0415
        from polyarch.why.history import History, Project  # noqa: PLC0415

        request = self.telling.request
        assert request is not None
        with self._lock:
            if not self._made:
                project = Project(
                    context=place_of(request.context), dockerfile=place_of(request.dockerfile)
                )
                self._made.append(
                    Explainer(
                        self.graph,
                        History(self.store.database),
                        project,
                        seen=self.worker.seen,
                        forced=Forced(no_cache=request.no_cache, pull=request.pull),
                    )
                )
        return self._made[0]
