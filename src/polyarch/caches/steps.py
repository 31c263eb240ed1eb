"""`type=steps`: results of single steps at addresses, looked up and pushed while the build goes on.

A result is called by the key that it is found by (`caches/names.py`), so the names of steps that read nothing by content
follow from the Dockerfile and the base images: they are asked for ahead, side by side, and a build in which all is
found doesn't wait for one answer after another. What a step that ran has made isn't asked for above it, unless by
content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence

from polyarch.caches.elsewhere import stack_of
from polyarch.caches.form import CachedResult
from polyarch.caches.importing import record_of
from polyarch.caches.names import Keys, Names, name_of_key
from polyarch.caches.pushing import Pusher, StepResult
from polyarch.caches.stepreader import StepReader
from polyarch.caches.stepstore import step_tag
from polyarch.digest import Digest
from polyarch.errors import IntegrityError
from polyarch.graph.graph import Graph
from polyarch.graph.vertex import Vertex
from polyarch.snapshot.stack import snapshot_of_diff
from polyarch.solver.key import Ingredients, InputPart
from polyarch.solver.records import Record

__all__ = ["StepCache"]

_DEEPEST = 32
"""Steps upon one another that are asked for ahead of one."""


class StepCache:
    """The addresses of one solve: those that are read, and those that are written.

    `content_inputs` is the worker's; `places` gets where large files are in the layers that were found. With
    `is_anew` nothing is looked up, and what is written takes the place of what was there.
    """

    is_far = True

    def __init__(
        self,
        graph: Graph,
        readers: Sequence[StepReader],
        pushers: Sequence[Pusher],
        content_inputs: Callable[[Vertex], frozenset[int]],
        places: MutableMapping[str, Mapping[int, tuple[str, ...]]],
        *,
        is_anew: bool = False,
    ) -> None:
        self._readers = () if is_anew else tuple(readers)
        self._pushers = tuple(pushers)
        self._content_inputs = content_inputs
        self._places = places
        self._is_anew = is_anew
        self._names = Names()
        self._guesses = Names()
        self._users = _users(graph)
        self._new: set[Digest] = set()
        self._lost: set[Digest] = set()
        self._at: dict[Digest, set[str]] = {}
        """The addresses that are known to have a step's result."""

    @property
    def read(self) -> frozenset[str]:
        """The addresses that are asked."""
        return frozenset(each.store.source for each in self._readers)

    @property
    def written(self) -> frozenset[str]:
        """The addresses that are written."""
        return frozenset(each.store.source for each in self._pushers)

    def leave(self, vertex: Vertex, addresses: Iterable[str]) -> None:
        """Take that somebody else sees to a step's result at these addresses."""
        self._at.setdefault(vertex.digest, set()).update(addresses)

    def identified(self, vertex: Vertex, identity: str) -> None:
        """See Elsewhere."""
        self._names.identified(vertex, identity)
        self._guesses.identified(vertex, identity)

    def find(self, vertex: Vertex, ingredients: Ingredients) -> Record | None:
        """See Elsewhere."""
        keys = self._names.keys(vertex, ingredients)
        if keys is None or not self._readers:
            return None
        has_content = any(part.content is not None for part in ingredients.inputs)
        if not has_content and any(source.digest in self._new for source in vertex.inputs):
            return None
        for reader in self._readers:
            for key in keys.slow if has_content else keys.fast:
                if not has_content:
                    self._look_ahead(reader, vertex)
                record = self._take(vertex, reader, reader.find(step_tag(key)))
                if record is not None:
                    return record
        return None

    def _take(
        self, vertex: Vertex, reader: StepReader, found: CachedResult | None
    ) -> Record | None:
        if found is None:
            return None
        try:
            record = record_of(found, reader.store.source)
        except IntegrityError:
            return None  # of a later version, or of somebody else
        if found.layers and found.places:
            self._places[snapshot_of_diff(found.layers[-1].diff_id)] = found.places
        self._at.setdefault(vertex.digest, set()).add(reader.store.source)
        reader.note(vertex, found)
        return record

    def find_alike(self, vertex: Vertex, ingredients: Ingredients) -> Mapping[str, Record]:
        """See Elsewhere."""
        keys = self._names.keys(vertex, ingredients)
        found: dict[str, Record] = {}
        for reader in self._readers if keys else ():
            for key in keys.alike if keys else ():
                for each in reader.candidates(key):
                    record = self._take(vertex, reader, each)
                    if record is not None:
                        found.setdefault(record.identity, record)
        return found

    def _look_ahead(self, reader: StepReader, vertex: Vertex, depth: int = 0) -> None:
        """Ask for a step that reads nothing by content, and for those above it."""
        if depth == _DEEPEST or self._content_inputs(vertex):
            return
        parts = tuple(InputPart(identity="") for _ in vertex.inputs)
        asked = Ingredients(op=vertex.cache_digest, inputs=parts)
        keys = self._guesses.keys(vertex, asked)
        if keys is None or not keys.fast or not reader.ask_ahead(step_tag(keys.fast[0])):
            return
        self._guesses[vertex] = name_of_key(keys.fast[0])
        for user in self._users.get(vertex.digest, ()):
            self._look_ahead(reader, user, depth + 1)

    def found(self, vertex: Vertex, record: Record) -> None:
        """See Elsewhere."""
        keys = self._names.keys(vertex, record.ingredients())
        name = record.identity if record.identity.startswith("key:") else _name(keys)
        self._call(vertex, name)
        if keys is not None:
            self._push(vertex, record, keys, name, 0.0)

    def lost(self, vertex: Vertex, _record: Record) -> None:
        """See Elsewhere."""
        self._lost.add(vertex.digest)
        self._at.pop(vertex.digest, None)
        for reader in self._readers:
            reader.forget(vertex)

    def ran(self, vertex: Vertex, record: Record, seconds: float) -> None:
        """See Elsewhere."""
        self._new.add(vertex.digest)
        keys = self._names.keys(vertex, record.ingredients())
        self._call(vertex, _name(keys))
        if keys is not None:
            self._push(vertex, record, keys, _name(keys), seconds)

    def _call(self, vertex: Vertex, name: str) -> None:
        if name:
            self._names[vertex] = name
            self._guesses[vertex] = name

    def _push(self, vertex: Vertex, record: Record, keys: Keys, name: str, seconds: float) -> None:
        stack = stack_of(record)
        if stack is None or not name:
            return
        result = StepResult(
            record=record,
            stack=stack,
            keys=keys,
            name=name,
            seconds=seconds,
            is_newer=seconds > 0 and (self._is_anew or vertex.digest in self._lost),
        )
        for pusher in self._pushers:
            if pusher.store.source not in self._at.get(vertex.digest, ()):
                pusher.submit(result, vertex.cache_digest)


def _name(keys: Keys | None) -> str:
    """Return what a result is called that nobody has called yet: by what was read, if that is known, else by its inputs."""
    certain = (*keys.slow, *keys.fast) if keys else ()
    return name_of_key(certain[0]) if certain else ""


def _users(graph: Graph) -> Mapping[Digest, Iterable[Vertex]]:
    users: dict[Digest, dict[Digest, Vertex]] = {}
    for vertex in graph.vertices():
        for source in vertex.inputs:
            users.setdefault(source.digest, {})[vertex.digest] = vertex
    return {digest: tuple(found.values()) for digest, found in users.items()}
