"""Explains the steps of one solve that had to run, and keeps what the next build will be compared with.

What differs is told in the order in which a step sees it: flags, platform, op, inputs. An input that is
itself a step is explained the same way, so the cause is found where it lies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from polyarch.digest import Digest
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.record import frozen, replace
from polyarch.request.explanation import Cause, CauseKind, Explanation, Outcome
from polyarch.solver.facts import Facts
from polyarch.why.compare import op_differences
from polyarch.why.history import History, Project, TraceRow
from polyarch.why.listing import FileMark, differences, list_seen
from polyarch.why.nearest import Found, Nearest
from polyarch.why.seen import Seen
from polyarch.why.trace import (
    InputKind,
    Slot,
    Trace,
    TracedInput,
    make_trace,
    reads_the_same,
    scrubbed,
)

__all__ = ["Explainer", "Forced"]

_MOST_CAUSES = 6
_RAN = frozenset({Outcome.RAN, Outcome.FAILED, Outcome.CANCELED})
_KEPT = frozenset({Outcome.RAN, Outcome.CACHED, Outcome.FAILED})
_FactsOf = Callable[[Vertex], Facts]


@frozen
class Forced:
    """The flags that keep steps from being cached; `pull` asks the registries again."""

    no_cache: bool = False
    pull: bool = False

    def flag(self, stage: str) -> str:
        """Return which flag holds for a stage whose steps ignore the cache."""
        return "--no-cache" if self.no_cache else f"--no-cache-filter={stage}"


@frozen
class _Verdict:
    """Why a vertex isn't what it was; no causes: it is."""

    causes: tuple[Cause, ...] = ()
    through: tuple[str, ...] = ()


_SAME = _Verdict()


@frozen
class _Input:
    """One input of a step: what it comes from now, and what is known of it then and now."""

    step: Vertex
    index: int
    old: TracedInput
    new: TracedInput

    @property
    def source(self) -> Vertex:
        """The vertex below."""
        return self.step.inputs[self.index]


class Explainer:
    """Explains the steps of one graph; may be used by several threads. Methods raise StoreError.

    `seen` is what steps have read by content.
    """

    def __init__(
        self,
        graph: Graph,
        history: History,
        project: Project,
        *,
        seen: Mapping[tuple[Digest, int], Seen],
        forced: Forced,
    ) -> None:
        self._history = history
        self._project = project
        self._seen = seen
        self._forced = forced
        self._nearest = Nearest(history, project, graph)
        self._lock = threading.RLock()
        self._verdicts: dict[Digest, _Verdict] = {}
        self._traces: dict[Digest, tuple[Facts, Trace]] = {}

    def explain(self, vertex: Vertex, facts: _FactsOf) -> Explanation:
        """Say why `vertex` runs; `facts` has to know its inputs."""
        with self._lock:
            verdict = self._verdict(vertex, facts)
        causes = verdict.causes or (Cause(kind=CauseKind.COLLECTED),)
        return replace(_unexplained(vertex, Outcome.RAN), causes=causes, through=verdict.through)

    def end(
        self,
        steps: Iterable[Facts],
        *,
        number: Callable[[Digest], int],
    ) -> tuple[Explanation, ...]:
        """Explain the steps that ran, keep the traces of all; return the explanations, in order.

        Steps that were cached are among them. `number` gives the numbers of steps in the display.
        """
        known = {facts.vertex.digest: facts for facts in steps}

        def facts_of(vertex: Vertex) -> Facts:
            return known[vertex.digest]

        explanations = tuple(
            replace(each, number=number(each.step)) for each in self._all(known, facts_of)
        )
        rows = [row for facts in known.values() for row in self._row(facts)]
        self._history.save(self._project, rows, explanations)
        return explanations

    def _all(self, known: Mapping[Digest, Facts], facts_of: _FactsOf) -> Iterator[Explanation]:
        for facts in known.values():
            vertex = facts.vertex
            if not vertex.inputs or not vertex.name:
                continue
            if facts.outcome in _RAN:
                yield replace(self.explain(vertex, facts_of), outcome=facts.outcome)
            elif facts.outcome is Outcome.CACHED:
                yield _unexplained(vertex, Outcome.CACHED)

    # --- what is kept ---

    def _row(self, facts: Facts) -> Iterator[TraceRow]:
        """Give the row of a step, if there is something new to keep of it."""
        vertex = facts.vertex
        slot = self._nearest.slots.get(vertex.digest)
        if slot is None or facts.outcome not in _KEPT:
            return
        trace = self._trace(facts, slot)
        earlier = self._nearest.at(slot)
        listings = self._listings(facts)
        if facts.outcome is Outcome.FAILED:
            if not earlier:
                yield TraceRow(trace=trace, listings=listings)
            return
        is_listed = len(listings) == sum(bool(each.content) for each in trace.inputs)
        if facts.outcome is Outcome.CACHED and (trace in earlier or not is_listed):
            return
        yield TraceRow(trace=trace, listings=listings, result=trace.result or "-")

    def _trace(self, facts: Facts, slot: Slot) -> Trace:
        """Return what a step is made of; made once of the same facts."""
        digest = facts.vertex.digest
        known = self._traces.get(digest)
        if known is None or known[0] is not facts:
            known = self._traces[digest] = (facts, make_trace(facts, slot, self._seen))
        return known[1]

    def _listings(self, facts: Facts) -> dict[int, dict[str, FileMark] | None]:
        digest = facts.vertex.digest
        return {
            index: list_seen(self._seen[digest, index])
            for index in range(len(facts.inputs))
            if (digest, index) in self._seen
        }

    # --- comparing ---

    def _verdict(self, vertex: Vertex, facts: _FactsOf) -> _Verdict:
        if vertex.digest not in self._verdicts:
            self._verdicts[vertex.digest] = self._judge(vertex, facts)
        return self._verdicts[vertex.digest]

    def _judge(self, vertex: Vertex, facts: _FactsOf) -> _Verdict:
        slot = self._nearest.slots.get(vertex.digest)
        if slot is None:
            return _SAME
        if vertex.ignore_cache:
            return _Verdict(
                causes=(Cause(kind=CauseKind.FORCED, what=self._forced.flag(slot.stage)),)
            )
        trace = self._trace(facts(vertex), slot)
        found = self._nearest.find(trace)
        if found is None:
            return _Verdict(causes=(self._new(trace),))
        own = tuple(op_differences(found.trace, trace))
        is_elsewhere = any(cause.kind is CauseKind.PLATFORM for cause in own)
        inputs = _SAME if is_elsewhere else self._inputs(vertex, trace, found, facts)
        causes = _distinct((*own, *inputs.causes))
        if not causes and facts(vertex).outcome is not Outcome.CACHED:
            causes = self._unfound(found.trace, trace)
        return _Verdict(causes=causes[:_MOST_CAUSES], through=() if own else inputs.through)

    def _new(self, trace: Trace) -> Cause:
        before = self._nearest.in_place_of(trace.slot)
        return Cause(kind=CauseKind.NEW, old=f"{before.text} was in its place" if before else "")

    def _unfound(self, old: Trace, new: Trace) -> tuple[Cause, ...]:
        """Say why a step ran though it is made of what it was made of."""
        if not old.result:
            return (Cause(kind=CauseKind.FAILED),)
        if not set(old.keys) & set(new.keys):
            return (
                Cause(kind=CauseKind.CONTENT, what="one of its inputs", old="which isn't known"),
            )
        return (Cause(kind=CauseKind.COLLECTED),)

    def _inputs(self, vertex: Vertex, trace: Trace, found: Found, facts: _FactsOf) -> _Verdict:
        causes: list[Cause] = []
        through: tuple[str, ...] = ()
        for index in range(min(len(found.trace.inputs), len(trace.inputs))):
            verdict = self._input(vertex, index, trace, found, facts)
            if not causes:
                through = verdict.through
            causes += verdict.causes
        return _Verdict(causes=tuple(causes), through=through)

    def _input(
        self, vertex: Vertex, index: int, trace: Trace, found: Found, facts: _FactsOf
    ) -> _Verdict:
        old, new = found.trace.inputs[index], trace.inputs[index]
        part = _Input(step=vertex, index=index, old=old, new=new)
        if reads_the_same(found.trace, trace, index):
            return _SAME
        if causes := self._files(part, found):
            return _Verdict(causes=self._with_source(causes, part, facts))
        if old.identity == new.identity and old.kind == new.kind:
            return _SAME
        if new.kind is InputKind.STEP:
            return self._step(part, facts)
        causes = (_other_source(old, new),)
        if self._forced.pull and causes[0].kind is CauseKind.BASE:
            causes = (*causes, Cause(kind=CauseKind.FORCED, what="--pull"))
        return _Verdict(causes=causes)

    def _step(self, part: _Input, facts: _FactsOf) -> _Verdict:
        """Say why an input that is a step has another result than it had."""
        old, new = part.old, part.new
        verdict = self._verdict(part.source, facts)
        causes = verdict.causes
        if not causes:
            kind = CauseKind.AGAIN if old.name == new.name else CauseKind.ORDER
            causes = (Cause(kind=kind, old=old.name, new=new.name),)
            if kind is CauseKind.ORDER:
                return _Verdict(causes=causes)
        if not part.source.name:
            # What only stands for a part of the step: its causes are the step's own.
            return _Verdict(causes=causes, through=verdict.through)
        through = verdict.through
        if verdict.causes and verdict.causes[0].step:
            through = (*through, new.name)
        named = tuple(replace(each, step=each.step or new.name) for each in causes)
        return _Verdict(causes=named, through=through)

    def _with_source(
        self, causes: tuple[Cause, ...], part: _Input, facts: _FactsOf
    ) -> tuple[Cause, ...]:
        """Add to the files that differ why what they come from is another."""
        if part.new.kind is InputKind.IMAGE and part.old.identity != part.new.identity:
            return (*causes, _other_source(part.old, part.new))
        if part.new.kind is not InputKind.STEP:
            return causes
        below = self._step(part, facts).causes
        # What only stands for a part of the step knows its own files.
        return (*causes, *below) if part.source.name or not below else below

    def _files(self, part: _Input, found: Found) -> tuple[Cause, ...]:
        """Say which files differ that a step reads of an input; nothing if that can't be known."""
        old, new = part.old, part.new
        if not (old.content and new.content and old.is_whole == new.is_whole):
            return ()
        if old.content == new.content:
            return self._unlike(part, found)
        seen = self._seen.get((part.step.digest, part.index))
        listing = list_seen(seen) if seen else None
        before = self._history.listing(found.project, found.trace, part.index)
        files: list[Cause] = []
        if listing is not None and before is not None:
            files = [_placed(cause, new) for cause in differences(before, listing)]
            otherwise = "their order or names"
        elif found.trace.is_collected:
            otherwise = "its listing was collected"
        else:
            otherwise = "which file, isn't known"
        causes = (*_commits(old, new), *files)
        return causes or (Cause(kind=CauseKind.CONTENT, what=_place(new), old=otherwise),)

    def _unlike(self, part: _Input, found: Found) -> tuple[Cause, ...]:
        """Say which large file was found to differ from one of the same name and size, if any was."""
        seen = self._seen.get((part.step.digest, part.index)) or Seen()
        path = seen.unlike.get(found.trace.result)
        if path is None:
            return ()
        return (_placed(Cause(kind=CauseKind.CONTENT, what=path), part.new),)


def _unexplained(vertex: Vertex, outcome: Outcome) -> Explanation:
    place = vertex.location
    return Explanation(
        step=vertex.digest,
        name=scrubbed(vertex.name),
        outcome=outcome,
        line=place.start if place else 0,
        end_line=place.end if place else 0,
    )


def _distinct(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Leave out causes that were told already, if of another step."""
    found: dict[tuple[str, ...], Cause] = {}
    for cause in causes:
        found.setdefault((cause.kind, cause.what, cause.old, cause.new), cause)
    return tuple(found.values())


def _other_source(old: TracedInput, new: TracedInput) -> Cause:
    if old.kind is new.kind is InputKind.IMAGE and old.name == new.name:
        return Cause(
            kind=CauseKind.BASE, what=new.name, old=_short(old.version), new=_short(new.version)
        )
    return Cause(kind=CauseKind.ORDER, old=old.name, new=new.name)


def _commits(old: TracedInput, new: TracedInput) -> Iterator[Cause]:
    """Yield the change of commit, if the input is a repository that has one."""
    if (
        old.version
        and new.version
        and old.version != new.version
        and new.kind is not InputKind.IMAGE
    ):
        yield Cause(
            kind=CauseKind.REVISION, what=_place(new), old=old.version[:12], new=new.version[:12]
        )


def _place(part: TracedInput) -> str:
    if part.kind is InputKind.LOCAL:
        return "the build context" if part.name == "context" else f"the build context {part.name}"
    if part.kind is InputKind.STEP:
        return f"what it reads of {part.name}" if part.name else "what is mounted"
    return part.name


def _placed(cause: Cause, part: TracedInput) -> Cause:
    """Write paths of a root file system as such; those of contexts are relative, web files addresses."""
    if part.kind is InputKind.HTTP:
        return replace(cause, what=part.name)
    if part.kind in {InputKind.LOCAL, InputKind.GIT}:
        return cause
    if cause.kind is not CauseKind.RENAMED:
        return replace(cause, what=f"/{cause.what}")
    return replace(cause, what=f"/{cause.what}", old=f"/{cause.old}", new=f"/{cause.new}")


def _short(digest: str) -> str:
    return f"{digest[:19]}…" if len(digest) > 19 else digest
