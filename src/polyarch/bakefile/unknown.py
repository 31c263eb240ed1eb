"""Names in bake files that mean nothing, and probably were to mean something: buildx passes over them in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from polyarch.bakefile.attributes import GROUP_ATTRIBUTES, TARGET_ATTRIBUTES
from polyarch.bakefile.hcl.body import Block, Body
from polyarch.bakefile.hcl.place import Range
from polyarch.golang.strconv import quote
from polyarch.text.nearest import nearest, suggestion

__all__ = ["unknown_names"]

_KNOWN = {
    "target": ("name", "matrix", *TARGET_ATTRIBUTES),
    "group": ("name", "matrix", *GROUP_ATTRIBUTES),
    "variable": ("type", "default", "description"),
    "function": (),
}
_INNER = {"variable": ("validation",)}


def unknown_names(bodies: Sequence[Body]) -> tuple[str, ...]:
    """Return a sentence for each name, with its place. Attributes count if their names are nearly those of others."""
    return tuple(f"{_line(at)}: {told}" for at, told in _unknown(bodies))


def _line(at: Range) -> str:
    return f"{at.source.name}:{at.line}"


def _unknown(bodies: Sequence[Body]) -> Iterator[tuple[Range, str]]:
    for block in (each for body in bodies for each in body.blocks):
        known = _KNOWN.get(block.type)
        if known is None:
            near = suggestion(block.type, _KNOWN)
            yield block.head, f"blocks of type {quote(block.type)} mean nothing here{near}"
            continue
        named = " ".join((block.type, *map(quote, block.labels)))
        yield from _attributes(block, named, known)
        for inner in block.body.blocks:
            if inner.type in _INNER.get(block.type, ()):
                continue
            hint = f": write {inner.type} = {{ … }}" if inner.type in known else ""
            yield inner.head, f"{named} has no blocks of type {quote(inner.type)}{hint}"


def _attributes(block: Block, named: str, known: Iterable[str]) -> Iterator[tuple[Range, str]]:
    for name, attribute in block.body.attributes.items():
        if near := nearest(name, known):
            yield (
                attribute.name_at,
                f"{named} has no attribute {quote(name)} (did you mean {near}?)",
            )
