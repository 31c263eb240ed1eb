"""Files of web servers: fetched once, asked about again by ETag, checked against a digest.

The file is the only one of a tree: mode 0600, owner 0:0, its time that of Last-Modified or 1970.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from polyarch.digest import Digest, hex_of, sha256
from polyarch.errors import IntegrityError, RemoteError
from polyarch.graph.op import HttpOp
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.registry.download import Getter, redacted
from polyarch.registry.http import Answer
from polyarch.store.downloads import Download, Downloads
from polyarch.store.store import Store
from polyarch.store.trouble import store_trouble
from polyarch.worker.secrets import Secrets

__all__ = ["HttpFile", "HttpSource"]

_CHUNK = 1 << 20


@frozen
class HttpFile:
    """A file that was fetched: `folder` holds it and nothing else. `modified` is None if unknown."""

    folder: Path
    path: Path
    modified: int | None


@frozen
class HttpSource:
    """Fetches files into a store."""

    store: Store
    getter: Getter
    secrets: Secrets

    def fetch(self, op: HttpOp, cancel: CancelToken) -> HttpFile:
        """Fetch a file. Raises RemoteError, IntegrityError, StoreError."""
        downloads = Downloads(self.store.database)
        with self.store.locks.exclusive(_lock(op.url), check=cancel.check):
            known = downloads.find(op.url)
            if known is not None and not self.store.blobs.has(known.digest):
                known = None
            download = self._download(op.url, known, cancel)
            if download != known:
                downloads.add(download)
        if op.checksum and download.digest != op.checksum:
            raise IntegrityError(
                f"digest mismatch {download.digest}: {op.checksum}",
                hint=f"{redacted(op.url)} isn't what the Dockerfile expects",
            )
        return self._placed(op, download)

    def _download(self, url: str, known: Download | None, cancel: CancelToken) -> Download:
        fields = self._authorization(url)
        if known is not None and known.etag:
            fields["If-None-Match"] = known.etag
        elif known is not None and known.modified:
            fields["If-Modified-Since"] = known.modified
        with self.getter.get(url, fields) as answer:
            if answer.status == 304 and known is not None:
                return known
            if not 200 <= answer.status < 400:
                raise RemoteError(
                    f"invalid response status {answer.status}", hint=f"asked for {redacted(url)}"
                )
            return Download(
                url=url,
                digest=self._save(answer, cancel),
                etag=answer.fields.get("ETag"),
                modified=answer.fields.get("Last-Modified"),
            )

    def _save(self, answer: Answer, cancel: CancelToken) -> Digest:
        with self.store.blobs.writer() as writer:
            for piece in answer.stream(_CHUNK):
                cancel.check()
                writer.write(piece)
        return writer.digest

    def _authorization(self, url: str) -> dict[str, str]:
        host = urlsplit(url).netloc.rpartition("@")[2]
        header = self.secrets.find(f"HTTP_AUTH_HEADER_{host}")
        if header is None:
            token = self.secrets.find(f"HTTP_AUTH_TOKEN_{host}")
            header = None if token is None else b"Bearer " + token
        return {} if header is None else {"Authorization": header.decode("latin-1").strip()}

    def _placed(self, op: HttpOp, download: Download) -> HttpFile:
        folder = self.store.temporary("http")
        path = folder / op.filename
        modified = _seconds(download.modified)
        with store_trouble("write", path), self.store.blobs.open(download.digest) as blob:
            folder.mkdir()
            with path.open("xb", buffering=0) as copy:
                left = os.fstat(blob.fileno()).st_size
                while left:
                    left -= os.sendfile(copy.fileno(), blob.fileno(), None, left)
            path.chmod(0o600)
            os.utime(path, (modified or 0, modified or 0))
        return HttpFile(folder=folder, path=path, modified=modified)


def _lock(url: str) -> str:
    return f"http-{hex_of(sha256(url.encode()))}"


def _seconds(text: str) -> int | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - slow to load, seldom needed

    try:
        return int(parsedate_to_datetime(text).timestamp())
    except ValueError:
        return None
