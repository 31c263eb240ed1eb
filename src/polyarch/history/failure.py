"""Why a build of BuildKit's failed, as its records have it: a status of gRPC, with details in JSON.

Source: google.rpc.Status; BuildKit's `errdefs`, whose names the details have.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from polyarch.errors import IntegrityError
from polyarch.graph.location import Location, SourceText
from polyarch.history.record import BuildError
from polyarch.oci.fields import Fields, read_document
from polyarch.record import replace
from polyarch.wire import fields

__all__ = ["SOLVE", "VERTEX", "details", "explained", "place_of"]

_DETAILS = 3
_TYPE, _VALUE = 1, 2
_SOURCE = "errdefs.Source+json"
VERTEX = "errdefs.Vertex+json"
"""The name of the detail that tells which step failed."""
SOLVE = "errdefs.Solve+json"
"""The name of the detail that tells what it has left."""


def explained(error: BuildError, status: bytes) -> BuildError:
    """Return an error with the step that failed, and its place in the Dockerfile, as far as `status` has them.

    A status that can't be read tells nothing: the message stands in the record itself.
    """
    try:
        for kind, detail in details(status, VERTEX, _SOURCE):
            if kind == VERTEX:
                error = replace(error, step=detail.text("digest"))
            else:
                place = _place(detail)
                error = replace(error, excerpt=place.excerpt() if place is not None else "")
    except (IntegrityError, ValueError):
        return error
    return error


def place_of(status: bytes) -> Location | None:
    """Return the place in the Dockerfile that a status has, None if it has none, or can't be read."""
    try:
        for _, detail in details(status, _SOURCE):
            return _place(detail)
    except (IntegrityError, ValueError):
        pass
    return None


def details(status: bytes, *names: str) -> Iterator[tuple[str, Fields]]:
    """Yield the details of these names, in their order. Raises IntegrityError, ValueError for what can't be read."""
    for number, value in fields(status):
        if number != _DETAILS or isinstance(value, int):
            continue
        parts = dict(fields(value))
        kind, data = parts.get(_TYPE, b""), parts.get(_VALUE, b"")
        if not isinstance(kind, int) and not isinstance(data, int):
            name = kind.decode("utf-8", "replace").rpartition("/")[2]
            if name in names:
                yield name, read_document(data)


def _place(source: Fields) -> Location | None:
    info = source.object("info")
    text = base64.b64decode(info.text("data"), validate=True).decode("utf-8", "replace")
    places = [
        (_line(each, "start"), _line(each, "end") or _line(each, "start"))
        for each in source.objects("ranges")
    ]
    if not places:
        return None
    start, end = min(first for first, _ in places), max(last for _, last in places)
    name = SourceText(name=info.text("filename"), text=text)
    return Location(source=name, start=start, end=end)


def _line(place: Fields, key: str) -> int:
    return place.object(key).number("line") if key in place else 0
