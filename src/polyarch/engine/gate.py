"""What can't run here is refused as soon as that is certain, and for all platforms at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from polyarch.digest import Digest
from polyarch.errors import NoEmulator
from polyarch.graph.graph import Graph
from polyarch.graph.op import ExecOp
from polyarch.graph.vertex import Vertex
from polyarch.platforms import Platform

__all__ = ["EmulatorGate", "Emulators"]


class Emulators(Protocol):
    """What knows which platforms can be emulated; `polyarch.engine.emulators` implements it."""

    def unrunnable(self, platforms: Iterable[Platform], /) -> Sequence[Platform]:
        """Return those of `platforms` whose steps can't run with what is here."""

    def fetch(self, platforms: Iterable[Platform], /) -> Sequence[Platform]:
        """Fetch what `platforms` lack; return those that can't run even so."""

    def no_emulator(self, platforms: Sequence[Platform], /) -> NoEmulator:
        """Return the error that names all of `platforms`, none of which can run here."""


class EmulatorGate:
    """The gate of one solve: called with the steps that will run, before they are begun.

    A step that has run before may be cached once more; it is refused when it is certain that it isn't. All
    others have to run. `is_native` tells what needs no emulator, `foreign` gives what knows the emulators,
    once somebody needs one, and `knows` tells of an op whether a step with it has run before.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        is_native: Callable[[Platform], bool],
        foreign: Callable[[], Emulators],
        knows: Callable[[Digest], bool],
    ) -> None:
        self._graph = graph
        self._is_native = is_native
        self._foreign = foreign
        self._knows = knows
        self._unrunnable: Mapping[Vertex, Platform] | None = None

    def __call__(self, certain: Sequence[Vertex], /) -> None:
        """Let steps pass. Raises NoEmulator."""
        is_first = self._unrunnable is None
        if self._unrunnable is None:
            self._unrunnable = self._find_unrunnable()
        needed = {
            vertex: platform
            for vertex, platform in self._unrunnable.items()
            if vertex in certain or (is_first and self._has_to_run(vertex))
        }
        if needed:
            self._fetch(needed)

    def _fetch(self, needed: Mapping[Vertex, Platform]) -> None:
        """Get emulators for steps that are certain to run. Raises NoEmulator."""
        wanted = tuple(dict.fromkeys(needed.values()))
        foreign = self._foreign()
        refused = foreign.fetch(wanted)
        if refused:
            error = foreign.no_emulator(refused)
            error.place = next(vertex for vertex in needed if needed[vertex] in refused).location
            raise error
        assert self._unrunnable is not None
        left = {each for each in self._unrunnable.values() if each not in wanted}
        # What was fetched has the emulators of other platforms, too.
        left &= set(foreign.unrunnable(left))
        self._unrunnable = {
            vertex: platform for vertex, platform in self._unrunnable.items() if platform in left
        }

    def _find_unrunnable(self) -> dict[Vertex, Platform]:
        foreign = dict(self._foreign_steps())
        if not foreign:
            return {}
        refused = self._foreign().unrunnable(dict.fromkeys(foreign.values()))
        return {vertex: platform for vertex, platform in foreign.items() if platform in refused}

    def _foreign_steps(self) -> Iterable[tuple[Vertex, Platform]]:
        for vertex in self._graph.vertices():
            if isinstance(vertex.op, ExecOp) and not self._is_native(vertex.op.platform):
                yield vertex, vertex.op.platform

    def _has_to_run(self, vertex: Vertex) -> bool:
        return vertex.ignore_cache or not self._knows(vertex.cache_digest)
