"""Files of web servers: fetched once, asked about again by ETag, checked against a digest.

What a server codes on the way is decoded first: size, digest and archive are those of the file. Its ETag
is that of the coded form, which the same question gets again.

The file is the only one of a tree: mode 0600, owner 0:0, its time that of Last-Modified or 1970.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from polyarch.digest import Digest, hasher, hex_of, sha256
from polyarch.errors import IntegrityError, NotFound, RemoteError
from polyarch.graph.op import HttpOp
from polyarch.http.download import Getter
from polyarch.http.endpoint import Endpoint
from polyarch.http.follow import Reply, Sender
from polyarch.http.offline import OFFLINE_HINT
from polyarch.http.origin import redacted
from polyarch.http.pools import Pools
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.store.downloads import Download, Downloads
from polyarch.store.store import Store
from polyarch.store.trouble import store_trouble
from polyarch.text.epoch import has_date
from polyarch.worker.secrets import Secrets

__all__ = ["HttpFile", "HttpSource", "open_source"]

_CHUNK = 1 << 20


@frozen
class HttpFile:
    """A file that was fetched: `directory` holds it and nothing else. `modified` is None if unknown."""

    directory: Path
    path: Path
    modified: int | None
    digest: Digest


def open_source(
    store: Store,
    secrets: Secrets,
    pools: Pools,
    endpoint_of: Callable[[str], Endpoint],
    cancel: CancelToken,
) -> HttpSource:
    """Return what fetches over connections of `pools`; `endpoint_of` says how a host is spoken to."""
    getter = Getter(sender=Sender(endpoint_of=endpoint_of, pools=pools), cancel=cancel)
    return HttpSource(store=store, getter=getter, secrets=secrets)


@frozen
class HttpSource:
    """Fetches files into a store."""

    store: Store
    getter: Getter
    secrets: Secrets

    def fetch(self, op: HttpOp, cancel: CancelToken) -> HttpFile:
        """Fetch a file. Raises RemoteError, IntegrityError, StoreError, NotFound if nothing is asked of others.

        One whose digest is given isn't asked about again: it can't change.
        """
        downloads, name = Downloads(self.store.database), _name(op)
        with self.store.locks.exclusive(_lock(name), check=cancel.check):
            known = downloads.find(name)
            if known is not None and not self.store.blobs.has(known.digest):
                known = None
            if known is not None and op.checksum and self._is(known.digest, op.checksum):
                return self._placed(op, known)
            if self.getter.sender.pools.is_offline:
                if known is None:
                    raise NotFound(
                        f"{redacted(op.url)} isn't here, and nothing is asked of others (--offline)",
                        hint=OFFLINE_HINT,
                    )
                return self._placed(op, known)
            download = self._download(op, known, cancel)
            if download != known:
                downloads.add(download)
        if op.checksum and not self._is(download.digest, op.checksum):
            raise IntegrityError(
                f"digest mismatch {download.digest}: {op.checksum}",
                hint=f"{redacted(op.url)} isn't what the Dockerfile expects",
            )
        return self._placed(op, download)

    def _is(self, digest: Digest, expected: str) -> bool:
        """Tell whether a blob has the expected digest, which may be of another algorithm."""
        if expected.startswith("sha256:"):
            return digest == expected
        wanted = Digest(expected)
        found = hasher(wanted)
        with self.store.blobs.open(digest) as blob:
            while piece := blob.read(_CHUNK):
                found.update(piece)
        return found.hexdigest() == hex_of(wanted)

    def _download(self, op: HttpOp, known: Download | None, cancel: CancelToken) -> Download:
        url, fields = op.url, dict(op.headers)
        if known is not None and known.etag:
            fields["If-None-Match"] = known.etag
        elif known is not None and known.modified:
            fields["If-Modified-Since"] = known.modified
        with self.getter.get(url, fields, self._authorization(op)) as answer:
            if known is not None and _is_same(answer, known):
                return known
            if not 200 <= answer.status < 400:
                raise RemoteError(
                    f"invalid response status {answer.status}",
                    hint=f"asked for {redacted(url)}",
                    status=answer.status,
                )
            return Download(
                url=_name(op),
                digest=self._save(answer, cancel),
                etag=answer.fields.get("ETag"),
                modified=answer.fields.get("Last-Modified"),
            )

    def _save(self, answer: Reply, cancel: CancelToken) -> Digest:
        with self.store.blobs.writer() as writer:
            for piece in answer.stream(_CHUNK):
                cancel.check()
                writer.write(piece)
        return writer.digest

    def _authorization(self, op: HttpOp) -> str:
        """Return what the op's secret says, else those of the machine's name; of two, the token; "" for none.

        Raises NotFound if the op's isn't there.
        """
        if op.auth_secret:
            value = self.secrets.find(op.auth_secret)
            if value is None:
                raise NotFound(f"failed to retrieve HTTP auth secret {op.auth_secret}: not found")
            return value.decode("latin-1").strip()
        host = urlsplit(op.url).hostname or ""
        token = self.secrets.find(f"HTTP_AUTH_TOKEN_{host}")
        header = self.secrets.find(f"HTTP_AUTH_HEADER_{host}")
        if token is not None:
            header = b"Bearer " + token
        return "" if header is None else header.decode("latin-1").strip()

    def _placed(self, op: HttpOp, download: Download) -> HttpFile:
        directory = self.store.temporary("http")
        path = directory / op.filename
        modified = _seconds(download.modified)
        with store_trouble("write", path), self.store.blobs.open(download.digest) as blob:
            directory.mkdir()
            with path.open("xb", buffering=0) as copy:
                left = os.fstat(blob.fileno()).st_size
                while left:
                    left -= os.sendfile(copy.fileno(), blob.fileno(), None, left)
            path.chmod(0o600)
            os.utime(path, (modified or 0, modified or 0))
        return HttpFile(directory=directory, path=path, modified=modified, digest=download.digest)


def _is_same(answer: Reply, known: Download) -> bool:
    """Tell whether a server says that nothing is new; some do only by the tag that they send."""
    if answer.status == 304:
        return True
    tag = answer.fields.get("ETag").removeprefix("W/")
    return answer.status == 200 and bool(tag) and tag == known.etag.removeprefix("W/")


def _name(op: HttpOp) -> str:
    """Return what an answer is remembered by: servers may answer by what they are told beside the address."""
    return " ".join((op.url, *(f"{name}={value}" for name, value in op.headers)))


def _lock(url: str) -> str:
    return f"http-{hex_of(sha256(url.encode()))}"


def _seconds(text: str) -> int | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - slow to load, seldom needed

    try:
        seconds = int(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError, TypeError):
        return None
    return seconds if has_date(seconds) else None
