"""One blob on its way to a registry, over a line or through a proxy that may break.

A blob goes in one request first: every registry takes that, and some take nothing else. When a large one breaks
off, the registry is asked what it has of it. If it knows, the upload goes on from there. If not, it begins
anew, in pieces: what has arrived then stays, and the token is asked for at each of them. So does one that is larger than
what somebody before the registry lets pass at once. A registry that takes no pieces, or loses some, gets the blob whole
again. Source: distribution spec v1.1, "Pushing a blob in chunks"; docker's registry keeps whole pieces only, and gives
an upload up that broke inside of one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from urllib.parse import urlencode, urljoin

from polyarch.digest import Digest
from polyarch.errors import NotFound, OutOfReach, RegistryError, RemoteError
from polyarch.record import frozen, replace
from polyarch.registry.transport import OpenBody, Request, Response

__all__ = ["BINARY", "PIECE", "STORED", "Blob", "SendOnce", "Upload"]

STORED = frozenset({200, 201, 202, 204})
"""How registries say that they have kept something."""
PIECE = 16 << 20
"""Bytes. A round trip for as many costs little, and as many are lost at most when a line breaks."""
_SMALL_PIECE = 1 << 20
"""Bytes: what nginx lets pass unless it is told otherwise."""
BINARY = {"Content-Type": "application/octet-stream"}
"""The header fields of bytes."""
_NO_PIECES = frozenset({400, 405, 411, 413, 415, 501})
_LOST = frozenset({400, 409, 416, 422})
"""How registries say that what they have isn't what they were sent."""
_TOO_LARGE = 413
_WRONG_OFFSET = 416

SendOnce = Callable[[Request, Collection[int]], Response]
"""Sends a request and returns its answer, which has one of these statuses; raises RemoteError, NotFound."""


@frozen
class Blob:
    """What is uploaded; `open_body` gives its bytes from the start, as often as need be."""

    digest: Digest
    size: int
    open_body: OpenBody


@frozen
class _Session:
    """An upload that a registry has begun: where it goes on, and how many bytes are there."""

    location: str
    offset: int = 0
    least: int = 0
    """Bytes that a piece has to have, except for the last."""


class Upload:
    """The upload of a blob. `attempt` is called until it raises nothing; `close` it then.

    `begin` is the request that begins it. A blob of more than `piece` bytes is worth going on with.
    """

    def __init__(self, send: SendOnce, begin: Request, blob: Blob, piece: int = PIECE) -> None:
        self._send = send
        self._begin = begin
        self._blob = blob
        self._piece = piece
        self._bytes = _Bytes(blob.open_body)
        self._session: _Session | None = None
        self._in_pieces = False
        self._takes_pieces = True
        self._misses = 0
        self._has_waited = False
        self._most = 0

    def close(self) -> None:
        """Read no more of the blob."""
        self._bytes.close()

    def attempt(self) -> None:
        """Upload the blob, or what the last attempt left of it.

        Raises RegistryError; NotFound for a repository that can't be.
        """
        session = self._resumed() or self._begun()
        # Until an answer tells where it goes on, the registry has to be asked.
        self._session = session if self._blob.size > self._piece and self._takes_pieces else None
        if session.offset or self._in_pieces:
            self._send_pieces(session)
        else:
            self._put(session, self._blob.size)

    def gets_on(self) -> bool:
        """Tell whether the registry has more now than it had when this was asked the last time."""
        offset = self._session.offset if self._session else 0
        gained, self._most = offset > self._most, max(offset, self._most)
        self._has_waited = self._has_waited and not gained
        return gained

    def reconsidered(self, error: RemoteError) -> RemoteError:
        """Return an error as what it is for an upload: silence in the middle of a large one may be that of a line.

        It is waited for twice, and not five times as what answers at once.
        """
        is_silent = isinstance(error, OutOfReach) and error.passing and not error.temporary
        if not is_silent or self._has_waited or self._blob.size <= self._piece:
            return error
        self._has_waited = True
        return OutOfReach(str(error), hint=error.hint, temporary=True)

    def _begun(self) -> _Session:
        response = self._send(self._begin, {202})
        response.close()
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        return _Session(
            location=urljoin(response.url, response.headers.get("Location", "")),
            least=int(least) if least.isdecimal() and len(least) < 12 else 0,
        )

    def _resumed(self) -> _Session | None:
        """Return where a broken upload goes on; None if the registry has lost it, or never knew."""
        broken, self._session = self._session, None
        if broken is None:
            return None
        self._in_pieces = self._takes_pieces
        asked = replace(self._begin, method="GET", path=broken.location)
        try:
            response = self._send(asked, {200, 202, 204})
        except OutOfReach:
            self._session = broken
            raise
        except (NotFound, RemoteError):
            # Whatever it is, a new upload finds out; this one is as good as lost.
            return None
        response.close()
        offset = _end(response.headers.get("Range", ""))
        if not 0 < offset <= self._blob.size:
            return None
        location = urljoin(response.url, response.headers.get("Location", "") or broken.location)
        return replace(broken, location=location, offset=offset)

    def _send_pieces(self, session: _Session) -> None:
        while session.offset < self._blob.size:
            session = self._session = self._patched(session)
        self._put(session, 0)

    def _patched(self, session: _Session) -> _Session:
        length = min(max(self._piece, session.least), self._blob.size - session.offset)
        end = session.offset + length
        request = replace(
            self._begin,
            method="PATCH",
            path=session.location,
            headers={**BINARY, "Content-Range": f"{session.offset}-{end - 1}"},
            open_body=lambda: self._bytes.piece(session.offset, length),
            size=length,
        )
        try:
            response = self._send(request, {202, 201, 204})
        except NotFound as error:
            self._session = None
            raise _again(error) from error
        except RegistryError as error:
            self._misses += error.status == _WRONG_OFFSET
            if error.status == _TOO_LARGE and length > _SMALL_PIECE >= session.least:
                self._piece, self._session = _SMALL_PIECE, None
            # Who isn't content with the offset that it told itself loses what it is sent.
            elif error.status in _NO_PIECES or self._misses > 1:
                self._send_whole()
            elif error.status != _WRONG_OFFSET:  # after which the offset is asked for
                raise
            raise _again(error) from error
        response.close()
        location = urljoin(response.url, response.headers.get("Location", "") or session.location)
        told = _end(response.headers.get("Range", ""))
        offset = told if session.offset < told < end else end
        return replace(session, location=location, offset=offset)

    def _put(self, session: _Session, size: int) -> None:
        join = "&" if "?" in session.location else "?"
        put = replace(
            self._begin,
            method="PUT",
            path=f"{session.location}{join}{urlencode({'digest': self._blob.digest})}",
            headers=BINARY,
            open_body=self._blob.open_body if size else None,
            size=size,
        )
        try:
            self._send(put, STORED).close()
        except NotFound as error:
            # The upload has been begun, so it is that which isn't known any more, and not the repository.
            self._session = None
            raise _again(error) from error
        except RegistryError as error:
            if not self._is_otherwise(session, error.status):
                raise
            raise _again(error) from error

    def _is_otherwise(self, session: _Session, status: int) -> bool:
        """Tell whether a blob that was refused at the end is sent otherwise the next time."""
        if session.offset and status in _LOST:
            self._send_whole()
            return True
        if status == _TOO_LARGE and self._session is not None:
            self._in_pieces, self._session = True, None
            return True
        return False

    def _send_whole(self) -> None:
        self._takes_pieces, self._in_pieces, self._session = False, False, None


class _Bytes:
    """The bytes of a blob by pieces, read once as long as nobody goes back."""

    def __init__(self, open_body: OpenBody) -> None:
        self._open = open_body
        self._body: Generator[bytes, None, None] | None = None
        self._rest = b""
        self._at = 0

    def close(self) -> None:
        """Read no more."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def piece(self, start: int, length: int) -> Generator[bytes, None, None]:
        """Give `length` bytes from `start` on, fewer if the blob ends before."""
        if self._body is None or start < self._at:
            self.close()
            self._body, self._rest, self._at = self._open(), b"", 0
        while self._at < start and self._read(start - self._at):
            pass
        while length and (data := self._read(length)):
            length -= len(data)
            yield data

    def _read(self, most: int) -> bytes:
        if not self._rest and self._body is not None:
            self._rest = next(self._body, b"")
        data, self._rest = self._rest[:most], self._rest[most:]
        self._at += len(data)
        return data


def _end(told: str) -> int:
    """Return how many bytes a `Range` speaks of, `0-N` or `bytes=0-N`; 0 if it doesn't tell.

    Docker's registry says `0-0` for nothing, Gitea's `0--1`.
    """
    first, _, last = told.removeprefix("bytes=").partition("-")
    is_told = first == "0" and last.isdecimal() and len(last) < 19
    return int(last) + 1 if is_told and int(last) else 0


def _again(error: RegistryError | NotFound) -> RegistryError:
    """Return an error of an upload under way as one after which it may begin anew."""
    status = error.status if isinstance(error, RegistryError) else 404
    return RegistryError(str(error), hint=error.hint, status=status, temporary=True)
