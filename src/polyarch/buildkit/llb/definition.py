"""A vertex with all that it needs -> a definition: ops by their digests, what is known of each, and which of them is wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from polyarch.buildkit.llb.execs import SCRIPT_MODE, exec_op, resources_bytes
from polyarch.buildkit.llb.files import document_op, documents_of, files_op
from polyarch.buildkit.llb.numbers import DIFF, MERGE
from polyarch.buildkit.llb.sources import Offer, source_op
from polyarch.buildkit.llb.writing import Made, Output, Written, platform_bytes
from polyarch.buildkit.messages import pairs
from polyarch.digest import Digest, sha256
from polyarch.errors import InputError
from polyarch.graph.graph import walk
from polyarch.graph.location import Location, SourceText
from polyarch.graph.op import (
    DiffOp,
    ExecOp,
    FileOp,
    ImageOp,
    MergeOp,
    OutputOp,
    ScratchOp,
)
from polyarch.graph.vertex import Vertex
from polyarch.record import field as record_field
from polyarch.record import mutable
from polyarch.request.limits import Resources
from polyarch.wire import field, present

__all__ = ["write_definition"]

_MERGES = "mergeop"
"""What a daemon must know of for `COPY --link` to be independent of what is below; without it the copy is a plain one."""
_TOLD_BY = {"file.copy.modestring": "exec.meta.cdi"}
"""What daemons don't tell of, and what those that came no earlier tell of."""
_INTERNAL = "[internal] preparing inline document"


def write_definition(
    target: Vertex, *, offer: Offer, known: Collection[str] | None = None
) -> bytes:
    """Return the definition of a vertex, b"" for an empty tree.

    `known` is what the daemon knows of, by the names of BuildKit's capabilities; None is all. Raises InputError, with the
    place, for what it doesn't know of.
    """
    writer = _Writer(offer=offer, known=known)
    for vertex in walk((target,)):
        writer.add(vertex)
    return writer.definition(target)


@mutable
class _Writer:
    """Writes ops, each behind its inputs."""

    offer: Offer
    known: Collection[str] | None
    ops: dict[Digest, bytes] = record_field(default_factory=dict)
    metadata: dict[Digest, bytes] = record_field(default_factory=dict)
    places: dict[Digest, Location] = record_field(default_factory=dict)
    made: dict[Vertex, Made] = record_field(default_factory=dict)
    """What vertices have become."""

    def definition(self, target: Vertex) -> bytes:
        """Return all that was added, for the sake of a vertex."""
        wanted = self.made[target]
        if wanted is None:
            return b""
        return b"".join(
            (
                *(field(1, each) for each in self.ops.values()),
                field(1, wanted.to_bytes()),
                *(
                    field(2, field(1, name) + present(2, each))
                    for name, each in self.metadata.items()
                ),
                field(3, _source_map(self.places)),
            )
        )

    def add(self, vertex: Vertex) -> None:
        """Write a vertex, whose inputs were written."""
        self.made[vertex] = self._made(vertex)

    def _made(self, vertex: Vertex) -> Made:
        op = vertex.op
        if isinstance(op, ScratchOp):
            return None
        if isinstance(op, OutputOp):
            of = self.made[vertex.inputs[0]]
            assert of is not None  # an exec is always an op
            return Output(op=of.op, number=op.number)
        if isinstance(op, MergeOp):
            return self._merged(vertex)
        return self._put(vertex, self._written(vertex))

    def _written(self, vertex: Vertex) -> Written:
        op = vertex.op
        inputs = [self.made[each] for each in vertex.inputs]
        if isinstance(op, ExecOp):
            scripts = [document_op(name, text, mode=SCRIPT_MODE) for name, text in op.scripts]
            return exec_op(op, inputs, self._internal(vertex, scripts))
        if isinstance(op, FileOp):
            documents = [document_op(each.name, each.data) for each in documents_of(op)]
            return files_op(op.actions, inputs, self._internal(vertex, documents))
        return _diff(inputs) if isinstance(op, DiffOp) else source_op(op, self.offer)

    def _internal(self, vertex: Vertex, documents: Iterable[Written]) -> list[Output]:
        """Add ops that people don't see as steps."""
        return [self._put(vertex, each, _INTERNAL) for each in documents]

    def _merged(self, vertex: Vertex) -> Made:
        """Add a merge: of a single tree it's that, and a daemon that has no merges gets the copy in its place."""
        given = [(each, made) for each in vertex.inputs if (made := self.made[each]) is not None]
        if len(given) < 2:
            return given[0][1] if given else None
        if self.known is not None and _MERGES not in self.known and len(given) == 2:
            (below, _), (above, _) = given
            if isinstance(above.op, FileOp) and isinstance(above.inputs[0].op, ScratchOp):
                unlinked = Vertex(
                    digest=vertex.digest,
                    op=above.op,
                    inputs=(below, *above.inputs[1:]),
                    name=above.name,
                    location=above.location,
                    ignore_cache=above.ignore_cache,
                    cache_digest=vertex.cache_digest,
                )
                return self._put(unlinked, self._written(unlinked))
        inputs = tuple(dict.fromkeys(made for _, made in given))
        message = b"".join(present(1, field(1, inputs.index(made))) for _, made in given)
        written = Written(kind=MERGE, message=message, inputs=inputs, needs=frozenset({_MERGES}))
        return self._put(vertex, written)

    def _put(self, vertex: Vertex, written: Written, name: str = "") -> Output:
        self._check(vertex, written.needs)
        data = b"".join(
            (
                *(each.to_bytes() for each in written.inputs),
                present(written.kind, written.message),
                field(10, b"" if name else _platform(vertex)),
            )
        )
        digest = sha256(data)
        self.ops[digest] = data
        self.metadata.setdefault(digest, _metadata(vertex, name or vertex.name))
        if vertex.location is not None:
            self.places.setdefault(digest, vertex.location)
        return Output(op=digest)

    def _check(self, vertex: Vertex, needs: Iterable[str]) -> None:
        known = self.known
        missing = [
            each for each in sorted(needs) if known and _TOLD_BY.get(each, each) not in known
        ]
        if missing:
            error = InputError(
                f"the builder is too old for this: it doesn't know of {', '.join(missing)}",
                hint="build it with a newer BuildKit, or on this machine: --builder default",
            )
            error.place = vertex.location
            raise error


def _diff(inputs: list[Made]) -> Written:
    used = tuple(dict.fromkeys(each for each in inputs if each is not None))
    numbers = [-1 if each is None else used.index(each) for each in inputs]
    message = b"".join(present(number, field(1, each)) for number, each in enumerate(numbers, 1))
    return Written(kind=DIFF, message=message, inputs=used, needs=frozenset({"diffop"}))


def _platform(vertex: Vertex) -> bytes:
    """Return what a vertex is for: nothing where it is the same for all platforms."""
    op = vertex.op
    return platform_bytes(op.platform) if isinstance(op, ImageOp | ExecOp) else b""


def _metadata(vertex: Vertex, name: str) -> bytes:
    op = vertex.op
    resources = op.resources if isinstance(op, ExecOp) else Resources()
    return b"".join(
        (
            field(1, vertex.ignore_cache),
            pairs(2, {"llb.customname": name} if name else {}),
            field(7, resources_bytes(resources)),
        )
    )


def _source_map(places: Mapping[Digest, Location]) -> bytes:
    """Return the texts that ops were made from, and where in them each stands."""
    sources = list(dict.fromkeys(each.source for each in places.values()))
    return b"".join((*_locations(places, sources), *(field(2, _text(each)) for each in sources)))


def _locations(places: Mapping[Digest, Location], sources: list[SourceText]) -> Iterator[bytes]:
    for digest, place in places.items():
        lines = field(1, field(1, place.start)) + field(2, field(1, place.end))
        told = field(1, sources.index(place.source)) + field(2, lines)
        yield field(1, field(1, digest) + field(2, field(1, told)))


def _text(source: SourceText) -> bytes:
    data = source.text.encode("utf-8", "surrogateescape")
    return field(1, source.name) + field(2, data) + field(4, "Dockerfile")
