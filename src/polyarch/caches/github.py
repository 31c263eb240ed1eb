"""GitHub's cache service as a place of caches, for jobs on its runners (`type=gha`).

The service keeps entries that never change, by a key and a version, and finds one by the beginning of its key,
the newest first. A blob is an entry by its digest; a cache is found by an entry that holds its manifest, a new
one for each export. What the service removes is gone, as with any cache.

Two versions of the service are spoken. Source: the toolkit of GitHub's actions, packages/cache: `CacheService` of
`github.actions.results.api.v1` (2), `_apis/artifactcache` (1); "Put Blob" of Azure Blob Storage.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from typing import Protocol
from urllib.parse import quote, urlencode, urljoin

from polyarch.digest import Digest, fits
from polyarch.errors import IntegrityError, NotFound, RemoteError
from polyarch.golang.json import compact
from polyarch.http.download import refusal
from polyarch.http.follow import Call, Reply, Sender
from polyarch.http.origin import shown
from polyarch.http.retry import Attempts
from polyarch.images.place import BlobReader, OnBytes, Source, Unlinked
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor
from polyarch.oci.fields import Fields, read_document
from polyarch.progress import CancelToken
from polyarch.record import frozen

__all__ = ["GitHubCache", "GitHubService", "open_github"]

_VERSION = hashlib.sha256(b"polyarch 1").hexdigest()
"""What entries are kept under beside their keys: others' have another one."""
_CHUNK = 1 << 20
_PATCH = 32 << 20
"""Bytes that one request of version 1 may carry."""
_EXISTS = 409

OpenBody = Callable[[], Generator[bytes, None, None]]


class GitHubService(Protocol):
    """One version of the service."""

    def find(self, key: str, *, is_prefix: bool = False) -> str | None:
        """Return where an entry can be downloaded; with `is_prefix` the newest whose key begins so."""

    def save(self, key: str, size: int, body: OpenBody) -> None:
        """Keep an entry of `size` bytes, unless there is one of this key."""


def open_github(attributes: Mapping[str, str], sender: Sender, cancel: CancelToken) -> GitHubCache:
    """Return the cache that the attributes of `type=gha` name: `url_v2` or `url`, `token`, `scope`."""
    web = _Web(sender=sender, cancel=cancel, token=attributes.get("token", ""))
    is_new = "url_v2" in attributes and attributes.get("version", "2") != "1"
    service: GitHubService = (
        _Results(web, attributes["url_v2"]) if is_new else _Artifacts(web, attributes["url"])
    )
    return GitHubCache(service=service, web=web, scope=attributes["scope"])


@frozen
class _Web:
    """Sends requests, with the token to the service alone: downloads and uploads have addresses that are signed."""

    sender: Sender
    cancel: CancelToken
    token: str

    def ask(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, bytes]:
        """Ask the service; return the status and the body, which is small. Raises RemoteError."""
        bearer = f"Bearer {self.token}"
        call = Call(method=method, url=url, fields=fields, authorization=bearer, body=body)
        with self.sent(call) as reply:
            data = b"".join(islice(reply.stream(DOCUMENT_LIMIT), 64))
        return reply.status, data

    @contextmanager
    def sent(self, call: Call) -> Iterator[Reply]:
        """Send a call, and once more what may pass; give the answer. Raises RemoteError, Cancelled."""
        reply = Attempts(self.cancel).answer(lambda: self.sender.send(call), refusal)
        try:
            yield reply
        except OSError as error:
            raise RemoteError(f"{shown(call.url)} broke off: {error}", temporary=True) from error
        finally:
            reply.close()

    def upload(self, call: Call) -> None:
        """Send a call that has to be taken. Raises RemoteError, Cancelled."""
        with self.sent(call) as reply:
            status = reply.status
        if not 200 <= status < 300:
            raise RemoteError(f"{shown(call.url)} says {status}", status=status)


class _Results:
    """Version 2: requests in JSON, the bytes at Azure's storage."""

    def __init__(self, web: _Web, address: str) -> None:
        self._web = web
        service = "twirp/github.actions.results.api.v1.CacheService/"
        self._address = urljoin(address.rstrip("/") + "/", service)

    def find(self, key: str, *, is_prefix: bool = False) -> str | None:
        """See GitHubService."""
        keys = [key] if is_prefix else []
        asked = {"key": key, "restore_keys": keys, "version": _VERSION}
        status, answer = self._ask("GetCacheEntryDownloadURL", asked)
        if status == 404 or answer is None or not answer.flag("ok"):
            return None
        matched = answer.text("matched_key")
        is_right = matched.startswith(key) if is_prefix else matched in {key, ""}
        return answer.text("signed_download_url", required=True) if is_right else None

    def save(self, key: str, size: int, body: OpenBody) -> None:
        """See GitHubService."""
        status, answer = self._ask("CreateCacheEntry", {"key": key, "version": _VERSION})
        if status == _EXISTS or answer is None or not answer.flag("ok"):
            return
        fields = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream"}
        url = answer.text("signed_upload_url", required=True)
        self._web.upload(Call(method="PUT", url=url, fields=fields, open_body=body, size=size))
        done = {"key": key, "version": _VERSION, "size_bytes": str(size)}
        status, answer = self._ask("FinalizeCacheEntryUpload", done)
        if answer is None or not answer.flag("ok"):
            raise RemoteError(f"GitHub's cache didn't take {key}: it says {status}", status=status)

    def _ask(self, method: str, asked: Mapping[str, object]) -> tuple[int, Fields | None]:
        fields = {"Content-Type": "application/json"}
        url = urljoin(self._address, method)
        status, data = self._web.ask("POST", url, fields, compact(asked))
        if status in {404, _EXISTS}:
            return status, None
        if status != 200:
            raise RemoteError(f"{shown(url)} says {status}", status=status)
        return status, read_document(data)


class _Artifacts:
    """Version 1, which servers of others still speak."""

    def __init__(self, web: _Web, address: str) -> None:
        self._web = web
        self._address = urljoin(address.rstrip("/") + "/", "_apis/artifactcache/")

    def find(self, key: str, *, is_prefix: bool = False) -> str | None:
        """See GitHubService."""
        words = urlencode({"keys": key, "version": _VERSION}, quote_via=quote)
        status, data = self._ask("GET", f"cache?{words}")
        if status != 200:
            return None
        answer = read_document(data)
        found = answer.text("cacheKey")
        is_right = found.startswith(key) if is_prefix else found == key
        return answer.text("archiveLocation", required=True) if is_right else None

    def save(self, key: str, size: int, body: OpenBody) -> None:
        """See GitHubService."""
        asked = {"key": key, "version": _VERSION, "cacheSize": size}
        status, data = self._ask("POST", "caches", compact(asked))
        if status == _EXISTS:
            return
        number = read_document(data).number("cacheId", required=True)
        with closing(body()) as chunks:
            start = 0
            for piece in _pieces(chunks):
                self._patch(number, start, piece)
                start += len(piece)
        self._ask("POST", f"caches/{number}", compact({"size": size}))

    def _patch(self, number: int, start: int, piece: bytes) -> None:
        fields = {
            **_ACCEPT,
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes {start}-{start + len(piece) - 1}/*",
        }
        url = urljoin(self._address, f"caches/{number}")
        status, _ = self._web.ask("PATCH", url, fields, piece)
        if not 200 <= status < 300:
            raise RemoteError(f"{shown(url)} says {status}", status=status)

    def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        url = urljoin(self._address, path)
        fields = {**_ACCEPT, "Content-Type": "application/json"}
        status, data = self._web.ask(method, url, fields, body)
        if status not in {200, 201, 204, 404, _EXISTS}:
            raise RemoteError(f"{shown(url)} says {status}", status=status)
        return status, data


_ACCEPT = {"Accept": "application/json;api-version=6.0-preview.1"}


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join chunks to pieces of `_PATCH` bytes; the last one may be shorter."""
    piece = bytearray()
    for chunk in chunks:
        piece += chunk
        while len(piece) >= _PATCH:
            yield bytes(piece[:_PATCH])
            del piece[:_PATCH]
    if piece:
        yield bytes(piece)


@frozen
class GitHubCache(Unlinked):
    """The service as a place: caches of one `scope`, which a repository may have several of."""

    service: GitHubService
    web: _Web
    scope: str

    @property
    def name(self) -> str:
        """What the place is called; layers that came from it remember this."""
        return f"gha://{self.scope}"

    def load(self, _target: str) -> tuple[Descriptor, bytes]:
        """Return the newest cache of the scope. Raises NotFound, RemoteError."""
        url = self.service.find(self._index_key(), is_prefix=True)
        if url is None:
            raise NotFound(f"GitHub has no cache of the scope {self.scope!r}")
        with closing(self._download(url)) as chunks:
            found = read_document(b"".join(chunks))
        root = Descriptor.from_fields(found)
        return root, self.manifest(root)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, IntegrityError, RemoteError."""
        with closing(self.open_blob(descriptor).chunks()) as chunks:
            data = b"".join(chunks)
        if not fits(data, descriptor.digest):
            raise IntegrityError(
                f"GitHub's cache has other bytes than those of {descriptor.digest}"
            )
        return data

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read. Raises NotFound, RemoteError."""
        url = self.service.find(_blob_key(blob.digest))
        if url is None:
            raise NotFound(f"GitHub's cache has no blob {blob.digest}")
        return BlobReader(chunks=lambda: self._download(url))

    def _download(self, url: str) -> Generator[bytes, None, None]:
        with self.web.sent(Call(method="GET", url=url)) as reply:
            if reply.status != 200:
                raise RemoteError(f"{shown(url)} says {reply.status}", status=reply.status)
            yield from reply.stream(_CHUNK)

    def holds(self, blob: Descriptor) -> bool:
        """Return whether a blob is here. Raises RemoteError."""
        return self.service.find(_blob_key(blob.digest)) is not None

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Keep a blob unless it is here. Raises RemoteError, and what the source raises."""
        on_bytes(0)
        if not self.holds(blob):
            reader = source.open_blob(blob)
            self.service.save(_blob_key(blob.digest), blob.size, reader.chunks)
        on_bytes(blob.size)

    def put_manifest(self, descriptor: Descriptor, data: bytes, _subject: Digest | None) -> None:
        """Keep a manifest or index. Raises RemoteError."""
        self.service.save(_blob_key(descriptor.digest), len(data), lambda: _once(data))

    def tag(self, _tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Let a manifest be the newest cache of the scope. Raises RemoteError."""
        self.put_manifest(descriptor, data, None)
        entry = json.dumps(descriptor.to_json()).encode()
        key = f"{self._index_key()}{time.time_ns()}"
        self.service.save(key, len(entry), lambda: _once(entry))

    def _index_key(self) -> str:
        return f"polyarch-index-1-{self.scope}-"


def _blob_key(digest: Digest) -> str:
    return f"polyarch-blob-1-{digest}"


def _once(data: bytes) -> Generator[bytes, None, None]:
    yield data
