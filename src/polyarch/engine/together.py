"""Several requests, solved as one graph: equal vertices of any of them run once, and each goes on when its own are done.

Each request is at work in a thread of its own: it reads its Dockerfile, hands in its graph, waits for its results, and
exports them. Once all graphs are there, or it is clear that some will never be, the thread that called `run` solves them
as one. A vertex that several have is carried out with the contexts, the secrets and the sinks of the first of them
that is still there; all of them are told of it, each by the name that the vertex has for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Built, Crew, Part
from polyarch.errors import Cancelled, PolyarchError
from polyarch.graph.graph import Graph
from polyarch.graph.op import ExecOp
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken, Event, Sink, StepEvent, ignore_events
from polyarch.record import replace
from polyarch.request.explanation import Outcome
from polyarch.solver.announce import is_silent
from polyarch.solver.elsewhere import Elsewhere
from polyarch.solver.key import Content, Ingredients
from polyarch.solver.records import Record
from polyarch.solver.slots import SlotKind
from polyarch.solver.solver import ReportOf, SolveReport
from polyarch.why.seen import Seen
from polyarch.worker.worker import Result, Worker, content_inputs

if TYPE_CHECKING:
    from polyarch.caches.session import CacheSession

__all__ = ["Seat", "Together"]


class Seat:
    """One request among several. `stays` says that others build on its results, so that it is there for them to the end."""

    def __init__(self, together: Together, *, stays: bool) -> None:
        self._together = together
        self.stays = stays
        self.part: Part | None = None
        self.crew: Crew | None = None
        self.vertices: Mapping[Digest, Vertex] = {}
        self.has_left = False
        self.is_over = False
        self.uses = 0
        self.results: dict[Digest, Result] = {}
        self.report: SolveReport | None = None
        self.error: BaseException | None = None
        self._sink: Sink = ignore_events
        self._told: set[Digest] = set()

    def sink(self, sink: Sink) -> Sink:
        """Return a sink for what this request does, which tells the others of vertices that are theirs as well."""
        self._sink = sink

        def take(event: Event) -> None:
            sink(event)
            for other in self._together.others_with(event.step, self):
                other.tell(event)

        return take

    def tell(self, event: Event) -> None:
        """Tell this request of a vertex, by the name that it has here."""
        if isinstance(event, StepEvent):
            event = replace(event, name=self.vertices[event.step].name)
            if event.started is not None:
                self._told.add(event.step)
        self._own_sink(event)

    def _own_sink(self, event: Event) -> None:
        assert self.part is not None
        masker = self.part.sources.remote.secrets.masker
        (self._sink if masker is None else masker.sink(self._sink))(event)

    def tell_of_the_rest(self) -> None:
        """Tell of the vertices that nobody needed to look at: they count as cached."""
        now = time.time()
        for digest, vertex in self.vertices.items():
            if digest not in self._told and not is_silent(vertex):
                inputs = tuple(each.digest for each in vertex.inputs)
                event = StepEvent(step=digest, name=vertex.name, inputs=inputs, started=now)
                self._own_sink(replace(event, completed=now, cached=True))

    def solve(self, part: Part) -> Built:
        """Hand in what is to be solved, and wait for it. Raises what a vertex of it met, Cancelled."""
        report = self._together.wait_for(self, part)
        crew = self.crew
        if crew is not None and report is not None and _has_news(report, self.error):
            crew.explaining.ended(report.facts())
        if self.error is not None:
            raise self.error
        assert crew is not None
        assert report is not None
        built = crew.built([self.results[each.digest] for each in part.graph.targets], report)
        platforms = {
            str(each.op.platform) for each in self.vertices.values() if isinstance(each.op, ExecOp)
        }
        emulators = {name: told for name, told in built.emulators.items() if name in platforms}
        return replace(built, emulators=emulators)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what steps are carried out with, at the end of the block as long as anybody else needs it."""
        try:
            yield
        finally:
            self._together.wait_until_free(self)

    def masks_errors(self) -> AbstractContextManager[None]:
        """Return what keeps the secrets of this request out of errors that others hear of."""
        assert self.part is not None
        masker = self.part.sources.remote.secrets.masker
        return nullcontext() if masker is None else masker.masks_errors()


def _has_news(report: SolveReport, error: BaseException | None) -> bool:
    return error is not None or report.count(Outcome.RAN) > 0


class Together:
    """The seats of requests that are solved as one graph, those that others build on first.

    With `keeps_going` what one fails by is no matter of the others, unless they need it as well.
    """

    def __init__(self, engine: Engine, cancel: CancelToken, *, keeps_going: bool) -> None:
        self.keeps_going = keeps_going
        self._engine = engine
        self._cancel = cancel
        self._changed = threading.Condition()
        self._seats: list[Seat] = []
        self._taking_part: tuple[Seat, ...] = ()
        self._by_vertex: dict[Digest, list[Seat]] = {}
        self._is_over = False

    def add(self, *, stays: bool) -> Seat:
        """Return a seat for one more request; all are added before the first thread begins."""
        seat = Seat(self, stays=stays)
        self._seats.append(seat)
        return seat

    # --- for the threads of the requests ---

    def leave(self, seat: Seat) -> None:
        """Take that a request has ended; if it hasn't handed in anything, it never will."""
        with self._changed:
            seat.has_left = True
            self._changed.notify_all()

    def wait_for(self, seat: Seat, part: Part) -> SolveReport | None:
        """Hand in a part and wait until it is done; return what there is to report, None if it never began."""
        with self._changed:
            seat.part = part
            self._changed.notify_all()
            self._changed.wait_for(lambda: seat.is_over or self._is_over)
        return seat.report

    def wait_until_free(self, seat: Seat) -> None:
        """Wait until nobody needs what a request has opened."""
        with self._changed:
            if seat.part is None:
                return  # nobody has got anything of it
            self._changed.wait_for(
                lambda: self._is_over or (seat.is_over and not seat.uses and not seat.stays)
            )

    def others_with(self, step: Digest, seat: Seat) -> list[Seat]:
        """Return the other requests that have a vertex and wait for it."""
        return [
            each for each in self._by_vertex.get(step, ()) if each is not seat and not each.is_over
        ]

    # --- for the thread that solves ---

    def run(self) -> None:
        """Wait for all graphs, solve them as one, and tell each request what came of its own.

        What a vertex meets is told to those who have it. Raises Cancelled, and what is nobody's fault but ours.
        """
        unregister = self._cancel.on_cancel(self._wake)
        error: BaseException | None = None
        try:
            with self._changed:
                self._changed.wait_for(self._is_ready)
            self._cancel.check()
            self._begin()
            if self._taking_part:
                self._solve()
        except BaseException as failure:
            error = failure
            raise
        finally:
            unregister()
            self._end(error)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _is_ready(self) -> bool:
        settled = (each.has_left or each.part is not None for each in self._seats)
        return self._cancel.cancelled or all(settled)

    def _begin(self) -> None:
        self._taking_part = tuple(s for s in self._seats if s.part is not None and not s.has_left)
        seen: dict[tuple[Digest, int], Seen] = {}
        emulators: dict[str, str] = {}
        for seat in self._taking_part:
            assert seat.part is not None
            seat.vertices = {each.digest: each for each in seat.part.graph.vertices()}
            seat.crew = self._engine.crew(seat.part, seen)
            seat.crew.emulators = emulators
            for digest in seat.vertices:
                self._by_vertex.setdefault(digest, []).append(seat)

    def _solve(self) -> None:
        parts = [each.part for each in self._taking_part if each.part is not None]
        crews = [each.crew for each in self._taking_part if each.crew is not None]
        solver = self._engine.solver(
            parts, crews, _SharedRunner(self), self._cancel, sink=self._tell
        )
        graph = Graph(targets=tuple(each for part in parts for each in part.graph.targets))
        elsewhere = _SharedElsewhere(self) if any(each.caches for each in parts) else None
        with ExitStack() as stack:
            for crew in crews:
                stack.enter_context(crew.emulated)
            solver.solve_each(graph, self._cancel, self, elsewhere)

    def _tell(self, event: Event) -> None:
        is_done = isinstance(event, StepEvent) and event.completed is not None and not event.error
        for seat in self._by_vertex.get(event.step, ()):
            if not seat.is_over:
                seat.tell(event)
                if is_done:
                    event = replace(
                        event, cached=True
                    )  # once is enough: the others have it from there

    def done(self, target: Vertex, result: Result, report: ReportOf, /) -> None:
        """See Ends."""
        for seat in self._waiting_for(target):
            assert seat.part is not None
            seat.results[target.digest] = result
            if all(each.digest in seat.results for each in seat.part.graph.targets):
                seat.tell_of_the_rest()
                self._settle(seat, report(seat.part.graph))

    def failed(self, target: Vertex, error: PolyarchError, report: ReportOf, /) -> None:
        """See Ends."""
        for seat in self._waiting_for(target):
            assert seat.part is not None
            seat.error = error
            self._settle(seat, report(seat.part.graph))

    def _waiting_for(self, target: Vertex) -> list[Seat]:
        return [
            seat
            for seat in self._by_vertex[target.digest]
            if not seat.is_over and seat.part is not None and target in seat.part.graph.targets
        ]

    def _settle(self, seat: Seat, report: SolveReport) -> None:
        with self._changed:
            seat.report = report
            seat.is_over = True
            self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            is_told = any(seat.error is error for seat in self._seats)
            is_over = error is None or (is_told and isinstance(error, PolyarchError))
            reason = Cancelled("the build was cancelled") if is_over else error
            for seat in self._seats:
                if not seat.is_over and seat.error is None:
                    seat.error = reason
            self._is_over = True
            self._changed.notify_all()

    # --- for the solver ---

    @contextmanager
    def using(self, vertex: Vertex) -> Iterator[Worker]:
        """Give the worker of a request that has a vertex and is still there, the first of them."""
        with self._changed:
            seats = self._by_vertex[vertex.digest]
            seat = next((each for each in seats if each.stays or not each.is_over), None)
            if seat is None:
                raise Cancelled("nobody waits for it any more")
            seat.uses += 1
        try:
            assert seat.crew is not None
            with seat.masks_errors():
                yield seat.crew.worker
        finally:
            with self._changed:
                seat.uses -= 1
                self._changed.notify_all()

    def caches_of(self, vertex: Vertex) -> list[CacheSession]:
        """Return the caches of all requests that have a vertex and wait for it."""
        seats = [each for each in self._by_vertex[vertex.digest] if not each.is_over]
        found = (each.part.caches for each in seats if each.part is not None)
        return [each for each in found if each is not None and each.elsewhere is not None]

    def made(self, vertex: Vertex, result: Result, owner: Worker) -> None:
        """Tell all requests that have a step of its result, but for the one that has carried it out."""
        for seat in self._by_vertex[vertex.digest]:
            assert seat.crew is not None
            if seat.crew.worker is not owner and not seat.is_over:
                seat.crew.worker.made(vertex, result)

    @property
    def is_far(self) -> bool:
        """Whether one of the caches is as far away as a network."""
        found = (each.part.caches for each in self._taking_part if each.part is not None)
        return any(each.is_far for each in found if each is not None)


class _SharedRunner:
    """The solver's runner: the worker of whoever has a vertex."""

    def __init__(self, together: Together) -> None:
        self._together = together

    def source_identity(self, vertex: Vertex, /) -> str:
        with self._together.using(vertex) as worker:
            return worker.source_identity(vertex)

    def identity(self, vertex: Vertex, result: Result, /) -> str:
        with self._together.using(vertex) as worker:
            return worker.identity(vertex, result)

    def content_inputs(self, vertex: Vertex, /) -> frozenset[int]:
        return content_inputs(vertex)

    def content(
        self, vertex: Vertex, index: int, source: Result, cancel: CancelToken, /
    ) -> Content:
        with self._together.using(vertex) as worker:
            return worker.content(vertex, index, source, cancel)

    def is_made_of(
        self, vertex: Vertex, result: Result, inputs: Mapping[int, Result], cancel: CancelToken, /
    ) -> bool:
        with self._together.using(vertex) as worker:
            return worker.is_made_of(vertex, result, inputs, cancel)

    def run(self, vertex: Vertex, inputs: Sequence[Result], cancel: CancelToken, /) -> Result:
        with self._together.using(vertex) as worker:
            result = worker.run(vertex, inputs, cancel)
        if inputs:
            self._together.made(vertex, result, worker)
        return result

    def store(self, vertex: Vertex, result: Result, /) -> str:
        with self._together.using(vertex) as worker:
            return worker.store(vertex, result)

    def load(self, vertex: Vertex, stored: str, cancel: CancelToken, /) -> Result | None:
        with self._together.using(vertex) as worker:
            return worker.load(vertex, stored, cancel)

    def kind(self, vertex: Vertex, /) -> SlotKind:
        with self._together.using(vertex) as worker:
            return worker.kind(vertex)


class _SharedElsewhere:
    """The caches of all requests; each is asked and told of the vertices of its own.

    An address that several of them have is asked once, and written to once.
    """

    def __init__(self, together: Together) -> None:
        self._together = together

    @property
    def is_far(self) -> bool:
        return self._together.is_far

    def identified(self, vertex: Vertex, identity: str, /) -> None:
        for each in self._elsewhere(vertex):
            each.identified(vertex, identity)

    def find(self, vertex: Vertex, ingredients: Ingredients, /) -> Record | None:
        found = (each.find(vertex, ingredients) for each in self._to_ask(vertex))
        return next((each for each in found if each is not None), None)

    def find_alike(self, vertex: Vertex, ingredients: Ingredients, /) -> Mapping[str, Record]:
        found: dict[str, Record] = {}
        for each in self._to_ask(vertex):
            found = {**each.find_alike(vertex, ingredients), **found}
        return found

    def found(self, vertex: Vertex, record: Record, /) -> None:
        for each in self._to_tell(vertex):
            each.found(vertex, record)

    def lost(self, vertex: Vertex, record: Record, /) -> None:
        for each in self._elsewhere(vertex):
            each.lost(vertex, record)

    def ran(self, vertex: Vertex, record: Record, seconds: float, /) -> None:
        for each in self._to_tell(vertex):
            each.ran(vertex, record, seconds)

    def _elsewhere(self, vertex: Vertex) -> list[Elsewhere]:
        found = (each.elsewhere for each in self._together.caches_of(vertex))
        return [each for each in found if each is not None]

    def _to_ask(self, vertex: Vertex) -> Iterator[Elsewhere]:
        asked: set[str] = set()
        for session in self._together.caches_of(vertex):
            read = session.steps.read if session.steps else frozenset()
            if session.elsewhere is not None and (session.records or not read or read - asked):
                yield session.elsewhere
            asked |= read

    def _to_tell(self, vertex: Vertex) -> Iterator[Elsewhere]:
        written: set[str] = set()
        for session in self._together.caches_of(vertex):
            if session.steps is not None:
                session.steps.leave(vertex, written)
                written |= session.steps.written
            if session.elsewhere is not None:
                yield session.elsewhere
