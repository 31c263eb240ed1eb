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

__all__ = ["explained"]

_DETAILS = 3
_TYPE, _VALUE = 1, 2
_SOURCE = "errdefs.Source+json"
_VERTEX = "errdefs.Vertex+json"


def explained(error: BuildError, status: bytes) -> BuildError:
    """Return an error with the step that failed, and its place in the Dockerfile, as far as `status` has them.

    A status that can't be read tells nothing: the message stands in the record itself.
    """
    try:
        for kind, detail in _details(status):
            if kind.endswith(_VERTEX):
                error = replace(error, step=detail.text("digest"))
            elif kind.endswith(_SOURCE):
                error = replace(error, excerpt=_excerpt(detail))
    except (IntegrityError, ValueError):
        return error
    return error


def _details(status: bytes) -> Iterator[tuple[str, Fields]]:
    for number, value in fields(status):
        if number != _DETAILS or isinstance(value, int):
            continue
        parts = dict(fields(value))
        kind, data = parts.get(_TYPE, b""), parts.get(_VALUE, b"")
        if not isinstance(kind, int) and not isinstance(data, int):
            name = kind.decode("utf-8", "replace")
            if name.endswith((_SOURCE, _VERTEX)):
                yield name, read_document(data)


def _excerpt(source: Fields) -> str:
    info = source.object("info")
    text = base64.b64decode(info.text("data"), validate=True).decode("utf-8", "replace")
    places = [
        (_line(each, "start"), _line(each, "end") or _line(each, "start"))
        for each in source.objects("ranges")
    ]
    if not places:
        return ""
    start, end = min(first for first, _ in places), max(last for _, last in places)
    name = SourceText(name=info.text("filename"), text=text)
    return Location(source=name, start=start, end=end).excerpt()


def _line(place: Fields, key: str) -> int:
    return place.object(key).number("line") if key in place else 0
