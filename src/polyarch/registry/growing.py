"""A blob on its way to a registry while it is being made, so before its digest is known.

It goes in one PATCH whose length isn't told, as docker's engine pushes layers; the digest comes with the PUT that ends the
upload, so what arrives is nobody's before all of it is there. Nothing is tried twice: whoever needs the blob uploads it
again, when it is whole. Source: distribution spec v1.1, "Pushing blobs"; docker's engine, for the PATCH without a length.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlencode, urljoin

from polyarch.digest import Digest
from polyarch.errors import NotFound, OutOfReach, RegistryError, RemoteError
from polyarch.record import replace
from polyarch.registry.transport import UNTOLD, Request
from polyarch.registry.upload import BINARY, STORED, SendOnce

__all__ = ["Growing", "upload_growing"]


class Growing(Protocol):
    """A blob that is being made. What its methods raise ends the upload."""

    def chunks(self) -> Generator[bytes, None, None]:
        """Give its bytes from the start, as they come."""

    def find_digest(self) -> Digest | None:
        """Return its digest, once all of it is there."""


class _IsThere(Exception):
    """The registry has the blob already."""


def upload_growing(
    send: SendOnce, begin: Request, blob: Growing, is_there: Callable[[Digest], bool]
) -> bool:
    """Upload a blob while it is made; return whether that was needed.

    `begin` is the request that begins it. As soon as the blob's digest is known, `is_there` is asked about it. What is
    begun is given up by whatever is raised: RegistryError, NotFound, and what `blob` raises.
    """
    response = send(begin, {202})
    response.close()
    location = urljoin(response.url, response.headers.get("Location", ""))
    try:
        location = _send(send, begin, location, _asking(blob, is_there))
        digest = blob.find_digest()
        if digest is None:
            raise RegistryError("a blob ended before it was whole")
        join = "&" if "?" in location else "?"
        path = f"{location}{join}{urlencode({'digest': digest})}"
        send(replace(begin, method="PUT", path=path, headers=BINARY), STORED).close()
    except _IsThere:
        _give_up(send, begin, location)
        return False
    except OutOfReach:
        # Who isn't there, or says nothing, would only be waited for again.
        raise
    except BaseException:
        _give_up(send, begin, location)
        raise
    return True


def _send(
    send: SendOnce,
    begin: Request,
    location: str,
    chunks: Callable[[], Generator[bytes, None, None]],
) -> str:
    """Send the bytes; return where the upload goes on."""
    patch = replace(
        begin, method="PATCH", path=location, headers=BINARY, open_body=chunks, size=UNTOLD
    )
    response = send(patch, {201, 202, 204})
    response.close()
    return urljoin(response.url, response.headers.get("Location", "") or location)


def _asking(
    blob: Growing, is_there: Callable[[Digest], bool]
) -> Callable[[], Generator[bytes, None, None]]:
    """Return what gives a blob's bytes, and raises if it turns out that the registry has them."""

    def chunks() -> Generator[bytes, None, None]:
        is_asked = False
        for chunk in blob.chunks():
            if not is_asked and (digest := blob.find_digest()) is not None:
                is_asked = True
                if is_there(digest):
                    raise _IsThere
            yield chunk

    return chunks


def _give_up(send: SendOnce, begin: Request, location: str) -> None:
    """End an upload, which ends by itself where that can't be said."""
    with suppress(RemoteError, NotFound):
        send(replace(begin, method="DELETE", path=location), STORED).close()
