"""Bodies that were coded on the way: `Content-Encoding`.

Nobody asks for a coding here, but storage that keeps objects coded gives them so unasked; what was meant is
the file, so digests and archives are those of the decoded one. gzip is decoded, as Go's client does for
BuildKit, which takes every other coding for the file itself. So does this for two names that say nothing
about the way: `x-gzip` is how old web servers describe a .tgz (its digest is that of the .tgz), and
`aws-chunked` is left over from an upload. Anything else is refused by name: a file nobody can read is
worse than an error.

Source: RFC 9110, section 8.4.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.errors import RemoteError
from polyarch.http.connection import Fields, ProtocolError

__all__ = ["decoded", "is_coded"]

_PLAIN = frozenset({"identity", "x-gzip", "aws-chunked"})
_GZIP = "gzip"
_WINDOW = 31  # the largest, with a gzip header


def _codings(fields: Fields) -> list[str]:
    told = ",".join(fields.all("Content-Encoding")).lower().split(",")
    return [name for each in told if (name := each.strip()) and name not in _PLAIN]


def is_coded(fields: Fields) -> bool:
    """Return whether the body isn't the file itself: then no range of it is a range of the file."""
    return bool(_codings(fields))


def decoded(pieces: Iterator[bytes], fields: Fields, size: int) -> Iterator[bytes]:
    """Give a body without its coding, in pieces of up to `size` bytes, some of them empty.

    An empty piece is one that brought nothing yet: whoever reads can look whether to go on. Raises
    RemoteError for a coding that isn't known, ProtocolError for a body that is damaged or short.
    """
    codings = _codings(fields)
    if not codings:
        return pieces
    if codings != [_GZIP]:
        raise RemoteError(
            f"the answer is in the content coding {', '.join(codings)!r}, which isn't supported",
            hint="the server has to give the file as it is, or gzip",
        )
    return _gunzipped(pieces, size)


def _gunzipped(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Decode gzip, one member after another, never more than `size` bytes at once."""
    import zlib  # noqa: PLC0415 - unchanged builds get no coded bodies

    decoder = zlib.decompressobj(_WINDOW)
    is_empty = True
    try:
        for piece in pieces:
            left = piece
            while left:
                is_empty = False
                if decoder.eof:
                    decoder = zlib.decompressobj(_WINDOW)
                yield decoder.decompress(left, size)
                left = decoder.unconsumed_tail or decoder.unused_data
        # What the limit held back: less than one more copy of the window.
        yield decoder.flush()
    except zlib.error as error:
        raise ProtocolError(f"the gzip coding of the answer is damaged: {error}") from error
    if not decoder.eof and not is_empty:
        raise ProtocolError("the gzip coding of the answer ends too early")
