"""A registry that does as others than Debian's do, one habit at a time, as their documents and issues tell of them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Habits", "QuirkyRegistry", "quirky_registry"]

_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([^/?]*)")
_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)")
_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")
_REFERRERS = re.compile(r"/v2/(.+)/referrers/(sha256:[0-9a-f]+)")
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What a registry does otherwise; by default it does as the specification has it.

    `location` is a pattern for where an upload is, of `{host}`, `{path}` and `{state}`. Statuses are given in the place of what was asked for,
    0 for none: `patch` to any piece, `no_length` to one whose length isn't told, `bare_piece` to one without a `Content-Range`,
    `mount` to a blob of another repository, `head_blob` to who asks for one, `overwrite` to another manifest under a tag that is there,
    `index` to indexes of OCI, `referrers` to who asks for these. `patch_range` is the `Range` that answers a piece. Of a piece `keeps` bytes
    are kept, or all. No body may have more than `most` bytes. The first `lost_sessions` uploads are unknown when they are to be ended. `head_manifest` leaves out
    these fields of the answer, and `head_size` is its length. `media_type` is that of all manifests. `page` is how many referrers are told at once. `storage` is where blobs are instead. `reads_on` has it read what it
    has refused. The line breaks in the first `breaks` bodies that end an upload.
    """

    location: str = "http://{host}{path}?_state={state}"
    patch: int = 0
    no_length: int = 0
    bare_piece: int = 0
    patch_range: str = ""
    keeps: int = -1
    most: int = 0
    mount: int = 0
    head_blob: int = 0
    lost_sessions: int = 0
    overwrite: int = 0
    index: int = 0
    referrers: int = 0
    page: int = 0
    head_manifest: frozenset[str] = frozenset()
    head_size: str = ""
    media_type: str = ""
    storage: str = ""
    reads_on: bool = True
    breaks: int = 0


class QuirkyRegistry(ThreadingHTTPServer):
    """Keeps all in memory; `requests` are what it was asked."""

    daemon_threads = True

    def __init__(self, habits: Habits) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.habits = habits
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.sessions: dict[str, bytearray] = {}
        self.lost = habits.lost_sessions
        self.breaks = habits.breaks
        self.requests: list[str] = []
        self.refused: list[str] = []
        """What was answered with a status of 400 or more, with that status."""
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: connections are meant to break."""


@contextmanager
def quirky_registry(habits: Habits) -> Iterator[QuirkyRegistry]:
    """Run a registry for the time of a block."""
    registry = QuirkyRegistry(habits)
    thread = threading.Thread(target=registry.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        registry.shutdown()
        thread.join()
        registry.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: QuirkyRegistry

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def __getattr__(self, name: str) -> object:
        """Serve all methods alike: the base class looks for `do_` and the method."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    @property
    def _habits(self) -> Habits:
        return self.server.habits

    def _serve(self) -> None:
        self._is_read = False
        with self.server.lock:
            self.server.requests.append(f"{self.command} {self.path}")
        split = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        if self._habits.most and int(self.headers.get("Content-Length") or 0) > self._habits.most:
            self._answer(413, code="")
        elif found := _UPLOAD.fullmatch(split.path):
            self._upload(found[1], found[2], query)
        elif found := _BLOB.fullmatch(split.path):
            self._blob(found[1], found[2])
        elif found := _MANIFEST.fullmatch(split.path):
            self._manifest(found[1], found[2])
        elif found := _REFERRERS.fullmatch(split.path):
            self._referrers(found[1], found[2], int(query.get("from", "0")))
        else:
            self._answer(200)

    # --- uploads ---

    def _upload(self, name: str, session: str, query: dict[str, str]) -> None:
        if self.command == "POST":
            self._begin(name, query)
        elif session not in self.server.sessions:
            self._answer(404, code="BLOB_UPLOAD_UNKNOWN")
        elif self.command == "PATCH":
            self._patch(name, session)
        elif self.command == "PUT":
            self._finish(name, session, query.get("digest", ""))
        elif self.command == "DELETE":
            del self.server.sessions[session]
            self._answer(204)
        else:
            self._answer(204, headers=self._where(name, session))

    def _begin(self, name: str, query: dict[str, str]) -> None:
        mounted = self.server.blobs.get((query.get("from", ""), query.get("mount", "")))
        if "mount" in query and self._habits.mount:
            self._answer(self._habits.mount, code="UNSUPPORTED")
        elif mounted is not None:
            self.server.blobs[name, query["mount"]] = mounted
            self._answer(201)
        else:
            with self.server.lock:
                session = str(len(self.server.sessions) + len(self.server.requests))
                self.server.sessions[session] = bytearray()
            self._answer(202, headers=self._where(name, session))

    def _where(self, name: str, session: str) -> dict[str, str]:
        path = f"/v2/{name}/blobs/uploads/{session}"
        size = len(self.server.sessions[session])
        location = self._habits.location.format(
            host=self.server.host, path=path, state=f"a%2Bb=={size}"
        )
        told = self._habits.patch_range if self.command == "PATCH" else ""
        return {"Location": location, "Range": told or f"0-{max(size - 1, 0)}"}

    def _patch(self, name: str, session: str) -> None:
        is_told = "Content-Length" in self.headers
        status = self._habits.patch or (0 if is_told else self._habits.no_length)
        if "Content-Range" not in self.headers:
            status = status or self._habits.bare_piece
        if status:
            self._answer(status, code="UNSUPPORTED")
            return
        data = self._body()
        kept = self.server.sessions[session]
        if told := self.headers.get("Content-Range"):
            start, _, end = told.partition("-")
            if int(start) != len(kept) or int(end) != len(kept) + len(data) - 1:
                self._answer(416, code="BLOB_UPLOAD_INVALID", headers=self._where(name, session))
                return
        kept += data if self._habits.keeps < 0 else data[: self._habits.keeps]
        self._answer(202, headers=self._where(name, session))

    def _finish(self, name: str, session: str, digest: str) -> None:
        if self.server.breaks and int(self.headers["Content-Length"]) > 1000:
            self.server.breaks -= 1
            self.server.sessions[session] += self.rfile.read(1000)
            self.close_connection = True
            return
        data = bytes(self.server.sessions[session]) + self._body()
        if self.server.lost:
            self.server.lost -= 1
            del self.server.sessions[session]
            self._answer(404, code="BLOB_UPLOAD_UNKNOWN")
        elif "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            self._answer(400, code="DIGEST_INVALID")
        else:
            del self.server.sessions[session]
            self.server.blobs[name, digest] = data
            self._answer(201)

    # --- what is kept ---

    def _blob(self, name: str, digest: str) -> None:
        data = self.server.blobs.get((name, digest))
        if self.command == "HEAD" and self._habits.head_blob:
            self._answer(self._habits.head_blob)
        elif data is None:
            self._answer(404, code="BLOB_UNKNOWN")
        elif self._habits.storage:
            location = f"{self._habits.storage}/{digest}?X-Signature=open"
            self._answer(307, headers={"Location": location})
        else:
            self._answer(200, data)

    def _manifest(self, name: str, target: str) -> None:
        if self.command == "PUT":
            self._put(name, target)
            return
        found = self.server.manifests.get((name, target))
        if found is None:
            self._answer(404, code="MANIFEST_UNKNOWN")
            return
        media_type, data = found
        fields = {
            "Content-Type": self._habits.media_type or media_type,
            "Docker-Content-Digest": _digest(data),
        }
        is_bare = self.command == "HEAD"
        left_out = self._habits.head_manifest if is_bare else frozenset()
        headers = {key: value for key, value in fields.items() if key not in left_out}
        if is_bare and self._habits.head_size:
            headers["Content-Length"] = self._habits.head_size
        self._answer(200, data, headers=headers, tells="Content-Length" not in left_out)

    def _put(self, name: str, target: str) -> None:
        data, media_type = self._body(), self.headers["Content-Type"]
        known = self.server.manifests.get((name, target))
        document = json.loads(data)
        if media_type == _INDEX and self._habits.index:
            self._answer(self._habits.index, code="MANIFEST_INVALID")
        elif known and ":" not in target and self._habits.overwrite:
            self._answer(self._habits.overwrite, code="TAG_INVALID")
        elif missing := self._missing(name, document):
            self._answer(400, code=f"MANIFEST_BLOB_UNKNOWN: {missing}")
        else:
            for each in {target, _digest(data)}:
                self.server.manifests[name, each] = media_type, data
            about = {} if self._habits.referrers else document.get("subject", {})
            self._answer(201, headers={"OCI-Subject": about["digest"]} if about else {})

    def _missing(self, name: str, document: dict[str, Any]) -> str:
        listed = [each["digest"] for each in document.get("manifests", [])]
        blobs = [each for each in (document.get("config"), *document.get("layers", [])) if each]
        kept = {*self.server.manifests, *self.server.blobs}
        digests = (*listed, *(each["digest"] for each in blobs))
        return next((each for each in digests if (name, each) not in kept), "")

    def _referrers(self, name: str, subject: str, start: int) -> None:
        if self._habits.referrers:
            self._answer(self._habits.referrers)
            return
        found = []
        for (repository, target), (media_type, data) in sorted(self.server.manifests.items()):
            document = json.loads(data)
            if (
                repository == name
                and ":" in target
                and document.get("subject", {}).get("digest") == subject
            ):
                found.append(
                    {
                        "mediaType": media_type,
                        "digest": target,
                        "size": len(data),
                        "artifactType": document.get("artifactType", ""),
                    }
                )
        end = start + self._habits.page if self._habits.page else len(found)
        headers = {"Content-Type": _INDEX}
        if end < len(found):
            headers["Link"] = f'</v2/{name}/referrers/{subject}?from={end}>; rel="next"'
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": found[start:end]}
        self._answer(200, json.dumps(index).encode(), headers=headers)

    # --- HTTP ---

    def _body(self) -> bytes:
        self._is_read = True
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        data = bytearray()
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline(), 16):
                data += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        return bytes(data)

    def _answer(
        self,
        status: int,
        data: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        code: str = "",
        tells: bool = True,
    ) -> None:
        if code:
            data = json.dumps(
                {"errors": [{"code": code, "message": "as its makers want"}]}
            ).encode()
        if status >= 400:
            self.server.refused.append(f"{status} {self.command} {self.path}")
            # Who has sent only a part of it would be taken for somebody who asks for something else.
            self.close_connection = True
        self.send_response_only(status)
        fields = {**({"Content-Length": str(len(data))} if tells else {}), **(headers or {})}
        for name, value in fields.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()
        if status >= 400 and self._habits.reads_on and not self._is_read:
            self._body()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
