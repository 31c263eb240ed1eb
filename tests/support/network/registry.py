"""A registry on the loopback interface, in this process: blobs and manifests in memory, requests noted."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from polyarch.images.places import Places
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.transport import Transport

_INDEX = "application/vnd.oci.image.index.v1+json"


class Registry(ThreadingHTTPServer):
    """Serves the distribution spec; knobs make it refuse, break and forget.

    `failures` maps "METHOD path" to statuses to answer with first; `cut` is the number of bytes after
    which the next blobs break off; `token` is wanted as Bearer if it isn't empty, and given to `users`
    only, by name and password, if there are some; without a token, they are let in by Basic.
    `identity` is the refresh token that its authority takes. `retry_after` goes with failures.
    Blobs that are `coded` are sent in gzip, whole, unasked.
    With `answers_referrers` it knows which manifests are about another one, as registries of the newer
    specification do.
    Blobs of `meetings` are given when as many are asked for at once as theirs has parties.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.requests: list[str] = []
        self.failures: dict[str, list[int]] = {}
        self.cuts: list[int] = []
        self.token = ""
        self.users: dict[str, str] = {}
        self.identity = ""
        self.retry_after = ""
        self.coded: set[str] = set()
        self.answers_referrers = False
        self.meetings: dict[str, threading.Barrier] = {}
        self.forms: list[dict[str, list[str]]] = []
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


_OPENED: list[Transport] = []


def opened(transport: Transport) -> Transport:
    """Return it; its connections are closed when the registry that is being served is."""
    _OPENED.append(transport)
    return transport


def registry_places(cancel: CancelToken | None = None) -> Places:
    """The places that there are, with nobody's settings; nothing is waited for between attempts."""
    transport = Transport(Hosts(), Credentials({"DOCKER_CONFIG": "/nonexistent"}))
    return Places(Client(opened(transport), cancel or CancelToken(), pause=lambda *_: None))


@contextmanager
def serving() -> Iterator[Registry]:
    """Run a registry for the time of a `with` block."""
    registry = Registry()
    thread = threading.Thread(target=registry.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield registry
    finally:
        while _OPENED:
            _OPENED.pop().close()
        registry.shutdown()
        thread.join()
        registry.server_close()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {self.path}"
        with self.server.lock:
            self.server.requests.append(line)
            failures = self.server.failures.get(line)
            failure = failures.pop(0) if failures else 0
        if failure:
            told = {"Retry-After": self.server.retry_after} if self.server.retry_after else {}
            self._answer(failure, b'{"errors":[{"code":"UNKNOWN","message":"as asked"}]}', told)
        elif self.path.startswith("/token"):
            self._token(body)
        elif self.server.token and self.headers["Authorization"] != f"Bearer {self.server.token}":
            realm = f'Bearer realm="http://{self.server.host}/token",service="tests"'
            self._answer(401, b"", {"WWW-Authenticate": realm})
        elif self.server.users and not self.server.token and not self._is_known():
            self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="tests"'})
        else:
            self._route(body)

    def _token(self, body: bytes) -> None:
        query = body.decode() if self.command == "POST" else urlsplit(self.path).query
        form = parse_qs(query)
        self.server.forms.append(form)
        asks = {key: values[0] for key, values in form.items()}
        may = (
            self._is_known()
            or self.server.users.get(asks.get("username", "")) == asks.get("password", "no")
            or (self.server.identity and asks.get("refresh_token") == self.server.identity)
        )
        if (self.server.users or self.server.identity) and not may:
            self._answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}')
            return
        self._answer(200, f'{{"token": "{self.server.token}"}}'.encode())

    def _is_known(self) -> bool:
        kind, _, text = (self.headers["Authorization"] or "").partition(" ")
        user, _, password = (
            base64.b64decode(text).decode().partition(":") if kind == "Basic" else ("", "", "")
        )
        return bool(user) and self.server.users.get(user) == password

    def _route(self, body: bytes) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        path = url.path.removeprefix("/v2/")
        for kind, serve in (
            ("/blobs/uploads/", self._upload),
            ("/blobs/", self._blob),
            ("/manifests/", self._manifest),
            ("/referrers/", self._referrers),
        ):
            if not path:
                self._answer(200, b"{}")
                return
            name, found, rest = path.partition(kind)
            if found:
                serve(name, rest, query, body)
                return
        self._answer(404)

    def _upload(self, name: str, _session: str, query: dict[str, str], body: bytes) -> None:
        source = self.server.blobs.get((query.get("from", ""), query.get("mount", "")))
        if self.command == "POST" and source is not None:
            self.server.blobs[name, query["mount"]] = source
            self._answer(201)
        elif self.command == "POST":
            self._answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/session?state=x"})
        elif self.command == "PUT" and digest_of(body) == query["digest"]:
            self.server.blobs[name, query["digest"]] = body
            self._answer(201)
        else:
            self._answer(204 if self.command == "DELETE" else 400)

    def _blob(self, name: str, digest: str, _query: dict[str, str], _body: bytes) -> None:
        data = self.server.blobs.get((name, digest))
        if data is None:
            self._answer(404)
            return
        if digest in self.server.meetings and self.command == "GET":
            self.server.meetings[digest].wait()
        if digest in self.server.coded:
            cut = self.server.cuts.pop(0) if self.server.cuts else None
            self._answer(200, gzip.compress(data), {"Content-Encoding": "gzip"}, cut=cut)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        cut = self.server.cuts.pop(0) if self.server.cuts and self.command == "GET" else None
        self._answer(206 if start else 200, data[start:], cut=cut)

    def _manifest(self, name: str, target: str, _query: dict[str, str], body: bytes) -> None:
        if self.command == "PUT":
            stored = (self.headers["Content-Type"], body)
            self.server.manifests[name, target] = stored
            self.server.manifests[name, digest_of(body)] = stored
            subject = json.loads(body).get("subject", {}).get("digest")
            told = {"OCI-Subject": subject} if subject and self.server.answers_referrers else {}
            self._answer(201, b"", told)
        elif (name, target) in self.server.manifests:
            kind, data = self.server.manifests[name, target]
            headers = {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)}
            self._answer(200, data, headers)
        else:
            self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such"}]}')

    def _referrers(self, name: str, subject: str, _query: dict[str, str], _body: bytes) -> None:
        if not self.server.answers_referrers:
            self._answer(404)
            return
        found = []
        for (repository, target), (kind, data) in self.server.manifests.items():
            document = json.loads(data)
            about = document.get("subject", {}).get("digest")
            if (repository, about) == (name, subject) and target == digest_of(data):
                artifact = document.get("artifactType", "")
                told = {"mediaType": kind, "digest": target, "size": len(data)}
                found.append({**told, "artifactType": artifact})
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": found}
        self._answer(200, json.dumps(index).encode(), {"Content-Type": _INDEX})

    def _answer(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True
