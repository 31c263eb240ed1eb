"""What a build tells of why its steps ran; loaded in full only when one runs."""

from __future__ import annotations

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
from polyarch.record import frozen
from polyarch.request.explanation import Explanation
from polyarch.request.values import BuildRequest
from polyarch.solver.facts import Facts
from polyarch.store.store import Store
from polyarch.worker.worker import Worker

if TYPE_CHECKING:
    from polyarch.why.explainer import Explainer

__all__ = ["Explain", "Explaining", "Seen"]


def _no_number(_step: Digest) -> int:
    return 0


Tell = Callable[[tuple[Explanation, ...]], None]
"""Takes why the steps of a build ran, once they have ended, whether well or not."""


def _ignore(_found: tuple[Explanation, ...]) -> None:
    pass


@frozen
class Explain:
    """How a caller wants to hear why steps ran, besides in the result.

    With `live`, each step says so as it begins. `number` gives a step's number in the display. `tell` is
    called once the steps have ended, also where one failed and the build has no result.
    """

    live: bool = False
    number: Callable[[Digest], int] = _no_number
    tell: Tell = _ignore


@frozen
class Seen:
    """What explanations are made from: the graph, the store's records, and what the worker has read."""

    graph: Graph
    store: Store
    worker: Worker
    sink: Sink


class Explaining:
    """The solver's observer for one solve; `found` holds the explanations once it has ended.

    There are none if all steps were cached.
    """

    def __init__(self, asked: Explain, request: BuildRequest, seen: Seen) -> None:
        self.found: tuple[Explanation, ...] = ()
        self._asked = asked
        self._is_told = False
        self._request = request
        self._seen = seen
        self._made: Explainer | None = None
        self._lock = threading.Lock()

    def runs(self, vertex: Vertex, facts: Callable[[Vertex], Facts], /) -> None:
        """Say why a step runs, if that is wanted at once."""
        if not self._asked.live or not vertex.name:
            return
        explanation = self._explainer().explain(vertex, facts)
        now = time.time()
        for line in (explanation.text(), *explanation.details()):
            self._seen.sink(
                StatusEvent(step=vertex.digest, id=line, started=now, completed=now, is_remark=True)
            )

    def ended(self, steps: Iterable[Facts], /) -> None:
        """Keep what is known of all steps."""
        # The results are there, and worth more than the reasons for them: a store that has no room left
        # for these may have enough for all that is to come.
        with suppress(StoreError):
            self.found = self._explainer().end(steps, number=self._asked.number)
        self._tell()

    def solved(self) -> tuple[Explanation, ...]:
        """Return why steps ran; the solve has ended well."""
        if not self._is_told:  # the solver has nothing to say of a build in which nothing ran
            self._tell()
        return self.found

    def _tell(self) -> None:
        self._is_told = True
        self._asked.tell(self.found)

    def _explainer(self) -> Explainer:
        # An unchanged build needs none of it.
        from polyarch.why import explainer, history  # noqa: PLC0415

        request = self._request
        with self._lock:
            if self._made is None:
                project = history.Project(
                    context=history.place_of(request.context),
                    dockerfile=history.place_of(request.dockerfile),
                )
                self._made = explainer.Explainer(
                    self._seen.graph,
                    history.History(self._seen.store.database),
                    project,
                    seen=self._seen.worker.seen,
                    forced=explainer.Forced(no_cache=request.no_cache, pull=request.pull),
                )
        return self._made
