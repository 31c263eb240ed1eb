"""Commands that the state machine gives, and events that it is told: values only.

Every command is answered by exactly one event of the same vertex:

    Identify      Identified
    Query         Found or Missing
    ReadContent   ContentRead
    Load          Loaded or Lost
    Run           Ran, or Found if another build was faster
    Fetch         Fetched

and any of them by Failed, which the state machine isn't told: it ends the solve.
"""

from __future__ import annotations

from dataclasses import dataclass

from polyarch.digest import Digest
from polyarch.graph.vertex import Vertex
from polyarch.solver.key import CacheKey, Ingredients
from polyarch.solver.records import Record

__all__ = [
    "Command",
    "ContentRead",
    "Event",
    "Failed",
    "Fetch",
    "Fetched",
    "Found",
    "Identified",
    "Identify",
    "Load",
    "Loaded",
    "Lost",
    "Missing",
    "Query",
    "Ran",
    "ReadContent",
    "Run",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """Ask what a source is."""

    vertex: Vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Look for a record under the last of `keys`; a find is written under the others, too."""

    vertex: Vertex
    keys: tuple[CacheKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadContent:
    """Digest what the vertex reads in its input number `index`, which is loaded."""

    vertex: Vertex
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Get the result that is stored under this text. `record` is None for a source."""

    vertex: Vertex
    stored: str
    record: Record | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Do the step and write a record under all `keys`; there is none if it can't be used again.

    The last key is the one that is locked meanwhile and, if `recheck`, asked for once more.
    """

    vertex: Vertex
    keys: tuple[CacheKey, ...]
    recheck: bool
    ingredients: Ingredients


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Bring a source here."""

    vertex: Vertex


Command = Identify | Query | ReadContent | Load | Run | Fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """The source is what `identity` names."""

    vertex: Vertex
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """There is a record."""

    vertex: Vertex
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """There is no record."""

    vertex: Vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRead:
    """What the vertex reads in its input number `index` has this digest."""

    vertex: Vertex
    index: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The stored result is in hand."""

    vertex: Vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The stored result is gone."""

    vertex: Vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The vertex ran; its result is in hand and is what `identity` names."""

    vertex: Vertex
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The source is in hand."""

    vertex: Vertex


Event = Identified | Found | Missing | ContentRead | Loaded | Lost | Ran | Fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The command ended with an error, which ends the solve."""

    vertex: Vertex
    error: BaseException
