"""Graph -> results: carries out what the state machine commands.

One thread, the caller's, holds the machine and talks to it. Lookups it does itself, for they take
less than handing them over. All other work goes to threads, as slots allow; but work that is alone
is done in the caller's thread, too, since nothing else can come up meanwhile: a chain of steps never
starts a thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from polyarch.digest import Digest
from polyarch.errors import PolyarchError, StoreError
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.record import frozen, replace
from polyarch.request.explanation import Outcome
from polyarch.solver.announce import Announcer
from polyarch.solver.elsewhere import Elsewhere
from polyarch.solver.event import (
    Command,
    Compare,
    Event,
    Failed,
    Fetch,
    Fetched,
    Found,
    Identified,
    Identify,
    Load,
    Loaded,
    Query,
    Ran,
    ReadContent,
    Run,
)
from polyarch.solver.facts import Facts, Gate, Observer, no_gate
from polyarch.solver.hands import Hands
from polyarch.solver.records import Records
from polyarch.solver.runner import Locks, Runner
from polyarch.solver.slots import SlotKind, SlotLimits, Slots
from polyarch.solver.state import Machine
from polyarch.solver.workers import Workers
from polyarch.threads import caught

__all__ = ["Ends", "ReportOf", "SolveReport", "Solved", "Solver"]

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


@frozen
class SolveReport:
    """What a solve did. Steps have RAN or are CACHED; sources are FETCHED, CACHED or only NAMED.

    `identities` names the result of every vertex; `facts` gives what was found out about each, inputs first.
    """

    outcomes: Mapping[Digest, Outcome]
    identities: Mapping[Digest, str]
    facts: Callable[[], Iterable[Facts]]

    def count(self, outcome: Outcome) -> int:
        """Return how many vertices came by their results this way."""
        return sum(each is outcome for each in self.outcomes.values())


ReportOf = Callable[[Graph], SolveReport]
"""Tells what a solve did so far of the vertices of one graph, a part of the one that is solved."""


@frozen
class Solved(Generic[R]):
    """The results of the graph's targets, in their order, and what it took."""

    results: tuple[R, ...]
    report: SolveReport


class Ends(Protocol[R_contra]):
    """Is told of each target of a solve as it ends, in the thread that solves. `keeps_going` without those that fail."""

    keeps_going: bool

    def done(self, target: Vertex, result: R_contra, report: ReportOf, /) -> None:
        """A target has its result; `report` tells of any of the vertices that it needs."""

    def failed(self, target: Vertex, error: PolyarchError, report: ReportOf, /) -> None:
        """A target can't be had."""


class Solver(Generic[R]):
    """Solves graphs with one runner, one set of records and one set of locks.

    `observer` is told of the steps that run, `gate` is asked before they do.
    `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        runner: Runner[R],
        records: Records,
        locks: Locks,
        *,
        limits: SlotLimits | None = None,
        sink: Sink = ignore_events,
        observer: Observer | None = None,
        gate: Gate = no_gate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.runner = runner
        self.records = records
        self.locks = locks
        self.limits = limits or SlotLimits()
        self.sink = sink
        self.observer = observer
        self.gate = gate
        self.clock = clock

    def solve(
        self, graph: Graph, cancel: CancelToken, elsewhere: Elsewhere | None = None
    ) -> Solved[R]:
        """Compute the results of the graph's targets; `elsewhere` has results of other machines, for this solve.

        When it returns or raises, no thread of it is left. Raises the first error that a vertex
        met, after the others were cancelled and have ended; Cancelled if the caller wished so.
        """
        with self._solving(graph, cancel, elsewhere) as solving:
            return solving.run(cancel)

    def solve_each(
        self, graph: Graph, cancel: CancelToken, ends: Ends[R], elsewhere: Elsewhere | None = None
    ) -> None:
        """Compute the results of the graph's targets, and tell `ends` of each as it comes.

        Raises as `solve`; where `ends` keeps going, what a vertex meets only fails the targets that need it.
        """
        with self._solving(graph, cancel, elsewhere) as solving:
            solving.run_for(ends, cancel)

    @contextmanager
    def _solving(
        self, graph: Graph, cancel: CancelToken, elsewhere: Elsewhere | None
    ) -> Iterator[_Solve[R]]:
        own = CancelToken()
        unregister = cancel.on_cancel(own.cancel)
        try:
            with Workers() as workers:
                yield _Solve(self, graph, workers, own, elsewhere)
        finally:
            unregister()


_Answer = tuple[Event | Failed, Callable[[], None]]


class _Solve(Generic[R]):
    """One graph being solved: the coordinator, in the caller's thread."""

    def __init__(
        self,
        solver: Solver[R],
        graph: Graph,
        workers: Workers,
        cancel: CancelToken,
        elsewhere: Elsewhere | None,
    ) -> None:
        self._solver = solver
        self._graph = graph
        self._workers = workers
        self._cancel = cancel
        self._announcer = Announcer(solver.sink, solver.clock)
        self._machine = Machine(graph, solver.runner.content_inputs)
        self._hands = Hands(
            runner=solver.runner,
            records=solver.records,
            locks=solver.locks,
            announcer=self._announcer,
            cancel=cancel,
            on_start=None if solver.observer is None else self._tell_start,
            elsewhere=elsewhere,
        )
        self._is_far = elsewhere is not None and elsewhere.is_far
        self._slots: Slots[Command] = Slots(solver.limits)
        self._lookups: deque[Command] = deque()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._busy = 0
        self._outcomes: dict[Digest, Outcome] = {}
        self._failures: dict[Digest, Outcome] = {}
        self._ends: Ends[R] | None = None

    def run(self, cancel: CancelToken) -> Solved[R]:
        """Solve; `cancel` is the caller's wish."""
        self._go_through(cancel)
        results = tuple(self._hands.results[vertex.digest] for vertex in self._graph.targets)
        report = SolveReport(
            outcomes=self._outcomes, identities=self._machine.identities(), facts=self._facts
        )
        return Solved(results=results, report=report)

    def run_for(self, ends: Ends[R], cancel: CancelToken) -> None:
        """Solve, and tell `ends` of each target as it ends; who it is for tells of steps that nobody looked at."""
        self._ends = ends
        self._go_through(cancel)

    def _go_through(self, cancel: CancelToken) -> None:
        for vertex in self._graph.vertices():
            self._announcer.announced(vertex)
        try:
            self._queue(self._machine.start())
            while not self._machine.done:
                cancel.check()
                self._step()
            if self._ends is None:
                for vertex in self._graph.vertices():
                    self._announcer.skipped(vertex)
        except PolyarchError:
            # What children do that are being ended is nobody's business.
            cancel.check()
            raise
        finally:
            self._stop()

    def _step(self) -> None:
        """Do all lookups, start what may start, and take one answer. Raises what a vertex met."""
        while self._lookups:
            self._take(self._hands.carry_out(self._lookups.popleft()))
        if self._machine.done:
            return  # what was left has failed
        self._ask_gate(self._machine.take_certain())
        if self._lookups or self._machine.done:
            return
        ready = list(self._take_ready())
        if len(ready) == 1 and not self._busy and not self._slots.waiting:
            command, give_back = ready[0]
            event = self._hands.carry_out(command)
        else:
            for command, give_back in ready:
                self._workers.start(partial(self._work, command, give_back), busy=self._busy)
                self._busy += 1
            event, give_back = self._answers.get()
            self._busy -= 1
        give_back()
        self._take(event)

    def _ask_gate(self, certain: Sequence[Vertex]) -> None:
        """Have steps that will run let pass; where the solve keeps going, one that is refused only fails those who need it."""
        if not certain:
            return
        try:
            self._solver.gate(certain)
        except PolyarchError as error:
            self._cancel.check()
            if self._ends is None or not self._ends.keeps_going:
                raise
            if len(certain) == 1:
                self._queue(self._machine.refuse(certain[0], error))
                self._tell_targets()
                return
            for vertex in certain:
                self._ask_gate([vertex])

    def _take_ready(self) -> Iterator[tuple[Command, Callable[[], None]]]:
        """Yield what may start; what only failed targets need never does."""
        while (taken := self._slots.take()) is not None:
            if self._machine.is_needed(taken[0].vertex):
                yield taken
            else:
                taken[1]()

    def _work(self, command: Command, give_back: Callable[[], None]) -> None:
        def answer() -> None:
            self._answers.put((self._hands.carry_out(command), give_back))

        # Without an answer the coordinator would wait for ever.
        error = caught(answer)
        if error is not None:
            self._answers.put((Failed(vertex=command.vertex, error=error), give_back))

    def _take(self, event: Event | Failed) -> None:
        if isinstance(event, Failed):
            self._end(event)
            self._fail(event)
            return
        self._note(event)
        self._queue(self._machine.handle(event))
        self._tell_targets()

    def _fail(self, failed: Failed) -> None:
        """Go on without the targets that need what failed, if that is wanted. Raises its error if it isn't."""
        ends, error = self._ends, failed.error
        if ends is None or self._cancel.cancelled or not isinstance(error, PolyarchError):
            raise error
        commands = self._machine.fail(failed.vertex, error)
        self._tell_targets()
        if not ends.keeps_going:
            raise error
        self._queue(commands)

    def _tell_targets(self) -> None:
        """Tell of the targets that have ended."""
        ends = self._ends
        if ends is None:
            return
        for target in self._machine.take_ended():
            error = self._machine.error_of(target)
            if error is None:
                ends.done(target, self._hands.results[target.digest], self._report_of)
            else:
                ends.failed(target, error, self._report_of)

    def _report_of(self, part: Graph) -> SolveReport:
        """Return what there is to say of a part by now; the solve may go on."""
        vertices = list(part.vertices())
        outcomes = {
            v.digest: self._outcomes[v.digest] for v in vertices if v.digest in self._outcomes
        }
        facts = tuple(map(self._facts_of, vertices))
        names = ((each.vertex.digest, each.identity) for each in facts)
        identities = {digest: identity for digest, identity in names if identity}
        return SolveReport(outcomes=outcomes, identities=identities, facts=lambda: facts)

    def _queue(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Query() if self._is_far:
                    self._slots.offer(command, SlotKind.SOURCE)
                case Identify() | Query():
                    self._lookups.append(command)
                case ReadContent() | Compare():
                    self._slots.offer(command, SlotKind.HASH)
                case Load():
                    self._slots.offer(command, SlotKind.FILE)
                case Run(vertex=vertex) | Fetch(vertex=vertex):
                    self._slots.offer(command, self._solver.runner.kind(vertex))

    def _note(self, event: Event) -> None:
        outcome = _OUTCOMES.get(type(event))
        if isinstance(event, Loaded) and not event.vertex.inputs:
            outcome = Outcome.CACHED
        if outcome is not None:
            self._outcomes[event.vertex.digest] = outcome

    def _end(self, failed: Failed) -> None:
        """Announce the end of a command: an error, unless it was told to end."""
        is_canceled = self._cancel.cancelled
        self._failures[failed.vertex.digest] = Outcome.CANCELED if is_canceled else Outcome.FAILED
        if is_canceled:
            self._announcer.canceled(failed.vertex)
        else:
            self._announcer.failed(failed.vertex, failed.error)

    def _tell_start(self, vertex: Vertex) -> None:
        assert self._solver.observer is not None
        with suppress(StoreError):
            self._solver.observer.runs(vertex, self._machine.facts)

    def _tell_end(self) -> None:
        """Tell the observer how it ended; an unchanged rebuild has nothing to tell."""
        observer = self._solver.observer
        if observer is not None and (self._failures or Outcome.RAN in self._outcomes.values()):
            observer.ended(self._facts())

    def _facts(self) -> Iterator[Facts]:
        return map(self._facts_of, self._graph.vertices())

    def _facts_of(self, vertex: Vertex) -> Facts:
        outcome = self._failures.get(vertex.digest) or self._outcomes.get(vertex.digest)
        return replace(self._machine.facts(vertex), vertex=vertex, outcome=outcome)

    def _stop(self) -> None:
        """Cancel what is under way, if anything is, and wait for it."""
        if self._busy:
            self._cancel.cancel()
        while self._busy:
            event, _ = self._answers.get()
            self._busy -= 1
            if isinstance(event, Failed):
                self._end(event)
            else:
                self._note(event)
        self._announcer.cancel_all()
        with suppress(StoreError):
            # When something was used last doesn't matter enough to fail a build, or to hide its error.
            self._solver.records.touch(self._hands.used)
        with suppress(StoreError):
            self._tell_end()


_OUTCOMES: Mapping[type[Event], Outcome] = {
    Identified: Outcome.NAMED,
    Found: Outcome.CACHED,
    Ran: Outcome.RAN,
    Fetched: Outcome.FETCHED,
}
