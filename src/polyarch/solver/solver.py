"""Carries out the commands of the state machine in threads; collects results.

(Signatures only for now.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from polyarch.digest import Digest
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.solver.records import Records
from polyarch.solver.runner import Locks, Runner
from polyarch.solver.slots import SlotLimits

__all__ = ["Outcome", "SolveReport", "Solved", "Solver"]

R = TypeVar("R")


class Outcome(StrEnum):
    """How a vertex came by its result."""

    RAN = "ran"
    CACHED = "cached"
    FETCHED = "fetched"
    NAMED = "named"


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveReport:
    """What a solve did. Steps have inputs and are RAN or CACHED, sources FETCHED or only NAMED.

    `identities` names the result of every vertex.
    """

    outcomes: Mapping[Digest, Outcome]
    identities: Mapping[Digest, str]

    @property
    def ran(self) -> int:
        """How many steps were run."""
        return sum(outcome is Outcome.RAN for outcome in self.outcomes.values())

    @property
    def cached(self) -> int:
        """How many steps were answered by records."""
        return sum(outcome is Outcome.CACHED for outcome in self.outcomes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved(Generic[R]):
    """The results of the graph's targets, in their order, and what it took."""

    results: tuple[R, ...]
    report: SolveReport


class Solver(Generic[R]):
    """Solves graphs with one runner, one set of records and one set of locks.

    `on_ran` is called in the worker's thread as soon as a step (not a source) was run and recorded.
    `weight` says how many exec slots a vertex takes. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        runner: Runner[R],
        records: Records,
        locks: Locks,
        *,
        limits: SlotLimits = SlotLimits(),  # noqa: B008  (an immutable value)
        sink: Sink = ignore_events,
        on_ran: Callable[[Vertex, R], None] | None = None,
        weight: Callable[[Vertex], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        raise NotImplementedError

    def solve(self, graph: Graph, cancel: CancelToken) -> Solved[R]:
        """Compute the results of the graph's targets.

        When it returns or raises, no thread of it is left. Raises the first error that a vertex
        met, after the others were cancelled and have ended; Cancelled if the caller wished so.
        """
        raise NotImplementedError
