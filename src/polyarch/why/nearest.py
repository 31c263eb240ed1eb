"""Which earlier build of a step is the nearest: the one that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from polyarch.graph.graph import Graph
from polyarch.record import frozen
from polyarch.why.compare import op_differences
from polyarch.why.history import History, Project
from polyarch.why.trace import Slot, Trace, find_slots, reads_the_same

__all__ = ["Found", "Nearest"]


@frozen
class Found:
    """A trace, and the project that it is of."""

    project: Project
    trace: Trace


class Nearest:
    """Finds the nearest traces for the steps of one graph."""

    def __init__(self, history: History, project: Project, graph: Graph) -> None:
        self.slots = find_slots(graph)
        self._history = history
        self._project = project
        self._traces = history.traces(project)
        # What an unchanged step of this build goes on from is no other step's earlier form.
        self._taken = {
            (self.slots[vertex.digest].stage, vertex.cache_digest)
            for vertex in graph.vertices()
            if vertex.digest in self.slots
        }

    def find(self, trace: Trace) -> Found | None:
        """Return the trace to compare `trace` with, None if the step was never built."""
        for candidates in self._candidates(trace):
            best = min(candidates, key=_distance_to(trace), default=None)
            if best is not None:
                return Found(project=self._project, trace=best)
        return self._elsewhere(trace)

    def at(self, slot: Slot) -> list[Trace]:
        """Return the traces of the very same place, the newest first."""
        return [trace for trace in self._traces if trace.slot == slot]

    def in_place_of(self, slot: Slot) -> Trace | None:
        """Return what stood in a place, whatever it was, in the last build of the stage."""
        near = [
            trace
            for trace in self._traces
            if (trace.slot.platform, trace.slot.stage, trace.slot.number)
            == (slot.platform, slot.stage, slot.number)
        ]
        return near[0] if near and not slot.part else None

    def _of_stage(self, slot: Slot) -> tuple[list[Trace], list[Trace]]:
        """Return the traces of the same kind and stage: those of its platform, and those of others."""
        wanted = (slot.stage, slot.kind, slot.part)
        here: list[Trace] = []
        there: list[Trace] = []
        for each in self._traces:
            if (each.slot.stage, each.slot.kind, each.slot.part) == wanted:
                (here if each.slot.platform == slot.platform else there).append(each)
        return here, there

    def _candidates(self, trace: Trace) -> Iterator[list[Trace]]:
        """Yield groups of traces, the nearest group first."""
        slot = trace.slot
        here, there = self._of_stage(slot)
        yield [each for each in here if each.op == trace.op]
        yield [each for each in here if each.slot == slot and not self._is_taken(each)]
        yield [each for each in there if each.text == trace.text]
        yield [each for each in self._traces if each.op == trace.op]

    def _is_taken(self, trace: Trace) -> bool:
        """Whether another step of this build is what this trace is of."""
        return (trace.slot.stage, trace.op) in self._taken

    def _elsewhere(self, trace: Trace) -> Found | None:
        """Look in other projects for a step of the same op that has an input in common."""
        found = [
            Found(project=project, trace=each)
            for project, each in self._history.equal_ops(trace.op)
            if project != self._project and _common(each, trace)
        ]
        return max(found, key=lambda each: _common(each.trace, trace), default=None)


def _distance_to(trace: Trace) -> Callable[[Trace], tuple[int, int, int]]:
    """Return what tells how far a trace is: by place, by op, by inputs; of equals the newest comes first."""

    def distance(each: Trace) -> tuple[int, int, int]:
        place = abs(each.slot.number - trace.slot.number)
        return place, sum(1 for _ in op_differences(each, trace)), -_common(each, trace)

    return distance


def _common(one: Trace, other: Trace) -> int:
    """Count the inputs that two traces have in common."""
    return sum(
        reads_the_same(one, other, index)
        or (not a.content and bool(a.identity) and a.identity == b.identity)
        for index, (a, b) in enumerate(zip(one.inputs, other.inputs, strict=False))
    )
