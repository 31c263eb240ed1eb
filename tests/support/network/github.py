"""GitHub's cache service, both versions, and the storage behind it: made from the protocol, for tests."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.network.web import listening

__all__ = ["TOKEN", "GitHub", "github"]

TOKEN = "a-job's-token"


@dataclass(slots=True)
class GitHub:
    """What is kept, in the order in which it came; `log` has who was asked what, with which authorization."""

    address: str = ""
    entries: dict[tuple[str, str], bytes] = field(default_factory=dict)
    reserved: dict[int, tuple[str, str]] = field(default_factory=dict)
    uploads: dict[int, bytes] = field(default_factory=dict)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    fails: bool = False

    def newest(self, prefixes: list[str], version: str) -> tuple[int, str] | None:
        """Find an entry by its whole key, else the newest whose key begins so."""
        keys = list(self.entries)
        for prefix in prefixes:
            for number in reversed(range(len(keys))):
                key, its_version = keys[number]
                if its_version == version and (key == prefix or key.startswith(prefix)):
                    return number, key
        return None

    def reserve(self, key: str, version: str) -> int | None:
        """Begin an entry; None if there is one."""
        if (key, version) in self.entries:
            return None
        number = len(self.reserved) + 1
        self.reserved[number] = (key, version)
        self.uploads[number] = b""
        return number

    def commit(self, number: int, size: int) -> bool:
        """End an entry."""
        data = self.uploads.pop(number)
        if len(data) != size:
            return False
        self.entries[self.reserved[number]] = data
        return True


class _Answers:
    """What the service says: (status, body)."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    def twirp(self, method: str, asked: dict[str, Any]) -> tuple[int, object]:
        github = self._github
        key, version = asked["key"], asked["version"]
        if method == "GetCacheEntryDownloadURL":
            found = github.newest([key, *asked.get("restore_keys", [])], version)
            if found is None:
                return 200, {"ok": False}
            url = f"{github.address}/storage/get/{found[0]}?sig=signed"
            return 200, {"ok": True, "signed_download_url": url, "matched_key": found[1]}
        if method == "CreateCacheEntry":
            number = github.reserve(key, version)
            if number is None:
                return 409, {"code": "already_exists"}
            return 200, {"ok": True, "signed_upload_url": f"{github.address}/storage/put/{number}"}
        number = next(n for n, each in github.reserved.items() if each == (key, version))
        return 200, {"ok": github.commit(number, int(asked["size_bytes"]))}

    def find(self, query: str) -> tuple[int, object]:
        words = parse_qs(query)
        found = self._github.newest(words["keys"][0].split(","), words["version"][0])
        if found is None:
            return 204, None
        url = f"{self._github.address}/storage/get/{found[0]}"
        return 200, {"cacheKey": found[1], "archiveLocation": url}

    def begin(self, asked: dict[str, Any]) -> tuple[int, object]:
        number = self._github.reserve(asked["key"], asked["version"])
        return (409, {}) if number is None else (201, {"cacheId": number})


class _Handler(BaseHTTPRequestHandler):
    """Answers requests; a subclass knows what is `served`."""

    protocol_version = "HTTP/1.1"
    served: GitHub

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = urlsplit(self.path).path
        authorization = self.headers.get("Authorization", "")
        self.served.log.append((self.command, path, authorization))
        if self.served.fails:
            self._say(500, {})
        elif path.startswith("/storage/"):
            self._store(path, body)
        elif authorization != f"Bearer {TOKEN}":
            self._say(401, {})
        elif "/twirp/" in path:
            self._say(*_Answers(self.served).twirp(path.rpartition("/")[2], json.loads(body)))
        else:
            self._old(path, body)

    do_GET = do_POST = do_PUT = do_PATCH = _handle  # noqa: N815 - as the base class has them

    def _store(self, path: str, body: bytes) -> None:
        number = int(path.rpartition("/")[2])
        if self.command == "GET":
            self._send(200, list(self.served.entries.values())[number])
        else:
            assert self.headers["x-ms-blob-type"] == "BlockBlob"
            self.served.uploads[number] = body
            self._send(201, b"")

    def _old(self, path: str, body: bytes) -> None:
        answers, name = _Answers(self.served), path.rpartition("/")[2]
        if self.command == "GET":
            self._say(*answers.find(urlsplit(self.path).query))
        elif name == "caches":
            self._say(*answers.begin(json.loads(body)))
        elif self.command == "PATCH":
            self._add(int(name), body)
        else:
            is_whole = self.served.commit(int(name), json.loads(body)["size"])
            self._send(204 if is_whole else 400, b"")

    def _add(self, number: int, body: bytes) -> None:
        wanted = re.fullmatch(r"bytes (\d+)-(\d+)/\*", self.headers["Content-Range"])
        assert wanted
        start, end = map(int, wanted.groups())
        assert (start, end - start + 1) == (len(self.served.uploads[number]), len(body))
        self.served.uploads[number] += body
        self._send(204, b"")

    def _say(self, status: int, answer: object) -> None:
        self._send(status, b"" if answer is None else json.dumps(answer).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 500:
            # The usual waits take as long as many tests.
            self.send_header("Retry-After", "0")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if status == 204 else body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def github() -> Iterator[GitHub]:
    """Serve for the time of the block."""

    class Handler(_Handler):
        served = GitHub()

    with listening(Handler, None) as address:
        Handler.served.address = address
        yield Handler.served
