"""Commands that the state machine gives, and events that it is told: values only.

Every command is answered by exactly one event of the same vertex:

    Identify      Identified
    Query         Found or Missing
    ReadContent   ContentRead
    Compare       Found or Missing
    Load          Loaded or Lost
    Run           Ran, or Found if another build was faster
    Fetch         Fetched

and any of them by Failed, which the state machine isn't told: it ends the solve.
"""

from __future__ import annotations

from polyarch.graph.vertex import Vertex
from polyarch.record import frozen
from polyarch.solver.key import CacheKey, Content, Ingredients
from polyarch.solver.records import Record

__all__ = [
    "Command",
    "Compare",
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


@frozen
class Identify:
    """Ask what a source is."""

    vertex: Vertex


@frozen
class Query:
    """Look for a record under the last of `keys`; a find is written under the others, too.

    `ingredients` are what that key is made of.
    """

    vertex: Vertex
    keys: tuple[CacheKey, ...]
    ingredients: Ingredients


@frozen
class ReadContent:
    """Digest what the vertex reads in its input number `index`, which is loaded."""

    vertex: Vertex
    index: int


@frozen
class Compare:
    """Look for a record whose result was made of the very bytes that the vertex reads.

    Its candidates are under the last of `keys`; a find is written under the others, too. `ingredients`
    say which inputs aren't known as a whole; they are loaded.
    """

    vertex: Vertex
    keys: tuple[CacheKey, ...]
    ingredients: Ingredients


@frozen
class Load:
    """Get the result that is stored under this text. `record` is None for a source."""

    vertex: Vertex
    stored: str
    record: Record | None = None


@frozen
class Run:
    """Do the step and write a record under all `keys`; there is none if it can't be used again.

    The last key is the one that is locked meanwhile and, if `recheck`, asked for once more. If the
    `ingredients` aren't whole it stands for candidates, as in Compare.
    """

    vertex: Vertex
    keys: tuple[CacheKey, ...]
    recheck: bool
    ingredients: Ingredients


@frozen
class Fetch:
    """Bring a source here."""

    vertex: Vertex


Command = Identify | Query | ReadContent | Compare | Load | Run | Fetch


@frozen
class Identified:
    """The source is what `identity` names."""

    vertex: Vertex
    identity: str


@frozen
class Found:
    """There is a record."""

    vertex: Vertex
    record: Record


@frozen
class Missing:
    """There is no record."""

    vertex: Vertex


@frozen
class ContentRead:
    """This is what the vertex reads in its input number `index`."""

    vertex: Vertex
    index: int
    content: Content


@frozen
class Loaded:
    """The stored result is in hand."""

    vertex: Vertex


@frozen
class Lost:
    """The stored result is gone."""

    vertex: Vertex


@frozen
class Ran:
    """The vertex ran; its result is in hand and is what `identity` names. `record` is what was written."""

    vertex: Vertex
    identity: str
    record: Record | None = None


@frozen
class Fetched:
    """The source is in hand."""

    vertex: Vertex


Event = Identified | Found | Missing | ContentRead | Loaded | Lost | Ran | Fetched


@frozen
class Failed:
    """The command ended with an error, which ends the solve."""

    vertex: Vertex
    error: BaseException
