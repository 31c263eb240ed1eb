"""Azure's Blob Storage, as much of its protocol as a cache needs: made for tests, after "Blob service REST API"."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.network.web import listening

__all__ = ["ACCOUNT", "KEY", "Azure", "azure"]

ACCOUNT = "devstoreaccount1"
KEY = "a2V5IG9mIGEgdGVzdA=="


@dataclass(slots=True)
class Azure:
    """What is kept: containers, blobs by their paths, blocks that aren't joined yet; `log` has what was asked."""

    address: str = ""
    containers: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    blocks: dict[tuple[str, str], bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept: Azure

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"1"')
        if "Content_Length" not in fields:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, code: str) -> None:
        self.answer(404, x_ms_error_code=code)

    def do_GET(self) -> None:
        self.ask()

    def do_HEAD(self) -> None:
        self.ask()

    def do_PUT(self) -> None:
        self.ask()

    def ask(self) -> None:
        self.kept.log.append(f"{self.command} {self.path}")
        assert self.headers.get("Authorization", "").startswith(f"SharedKey {ACCOUNT}:")
        parts = urlsplit(self.path)
        query = {name: each[0] for name, each in parse_qs(parts.query).items()}
        path = unquote(parts.path).removeprefix(f"/{ACCOUNT}/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if query.get("restype") == "container":
            self.container(path)
        elif path.partition("/")[0] not in self.kept.containers:
            self.missing("ContainerNotFound")
        elif self.command == "PUT":
            self.put(path, query, body)
        else:
            self.get(path)

    def container(self, name: str) -> None:
        if self.command == "PUT":
            self.kept.containers.add(name)
            self.answer(201)
        elif name in self.kept.containers:
            self.answer(200)
        else:
            self.missing("ContainerNotFound")

    def put(self, path: str, query: dict[str, str], body: bytes) -> None:
        if query.get("comp") == "block":
            self.kept.blocks[path, query["blockid"]] = body
        elif query.get("comp") == "blocklist":
            names = re.findall(r"<Latest>([^<]+)</Latest>", body.decode())
            self.kept.blobs[path] = b"".join(self.kept.blocks.pop((path, name)) for name in names)
        else:
            self.kept.blobs[path] = body
        self.answer(201)

    def get(self, path: str) -> None:
        data = self.kept.blobs.get(path)
        if data is None:
            self.missing("BlobNotFound")
        elif self.command == "HEAD":
            self.answer(200, Content_Length=str(len(data)), x_ms_blob_type="BlockBlob")
        else:
            wanted = self.headers.get("x-ms-range") or self.headers.get("Range") or ""
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first or 0), min(int(last or len(data)) + 1, len(data))
            told = f"bytes {start}-{end - 1}/{len(data)}"
            self.answer(206, data[start:end], Content_Range=told, x_ms_blob_type="BlockBlob")


@contextlib.contextmanager
def azure() -> Iterator[Azure]:
    """Serve an account without any container; `address` is its URL."""

    class Handler(_Handler):
        kept = Azure()

    with listening(Handler) as address:
        Handler.kept.address = f"{address}/{ACCOUNT}"
        yield Handler.kept
