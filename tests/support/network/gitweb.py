"""Repositories behind a web server, by git's own program for that, for those who know a password."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.network.web import listening

__all__ = ["DATE", "GitWeb", "commit", "git_web", "large_file", "new_repository"]

DATE = 1_700_000_000
_NONE: Mapping[str, str] = {}


@dataclass(slots=True)
class GitWeb:
    """The server: `address` is that of the directory, `headers` are the passwords that it was sent.

    `large_files` are those that repositories keep by git LFS, by their digests.
    With `password`, it serves only those who say it as the user `x-access-token`. Repositories that were
    `moved` are by their new names.
    """

    address: str
    password: str = ""
    moved: Mapping[str, str] = field(default_factory=dict)
    headers: list[str] = field(default_factory=list)
    large_files: dict[str, bytes] = field(default_factory=dict)

    def lets_in(self, header: str) -> bool:
        """Tell if a request is served."""
        self.headers.append(header)
        expected = base64.b64encode(f"x-access-token:{self.password}".encode()).decode()
        return not self.password or header.lower() == f"basic {expected}".lower()

    def refusal(self, path: str, header: str) -> tuple[int, str, str] | None:
        """Return a status and a header field for what isn't served, or isn't served here."""
        if not self.lets_in(header):
            return 401, "WWW-Authenticate", 'Basic realm="git"'
        name, _, rest = path.lstrip("/").partition(".git/")
        return (301, "Location", f"/{self.moved[name]}.git/{rest}") if name in self.moved else None


def commit(directory: Path, *words: str) -> str:
    """Run git in a repository as somebody at a certain time; return what it prints."""
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in {"NAME": "me", "EMAIL": "me@host", "DATE": f"{DATE} +0000"}.items()
    }
    settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "protocol.file.allow",
        "GIT_CONFIG_VALUE_0": "always",
    }
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), **identity, **settings}
    done = subprocess.run(
        ["git", *words], cwd=directory, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def new_repository(directory: Path, files: Mapping[str, str]) -> Path:
    """Make a repository of one commit on the branch `main`."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    commit(directory, "init", "-q", "-b", "main")
    commit(directory, "add", ".")
    commit(directory, "commit", "-q", "-m", "first")
    return directory


@contextlib.contextmanager
def git_web(
    directory: Path, *, password: str = "", moved: Mapping[str, str] = _NONE
) -> Iterator[GitWeb]:
    """Serve the repositories in a directory for the time of the block; `x/.git` is also `x.git`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(_body(self))

        do_POST = do_GET  # noqa: N815 - as the base class has it

        def answer(self, data: bytes) -> None:
            if self.path.startswith("/large/"):
                # Real servers sign these addresses.
                self.answer_large(web.large_files[self.path.rpartition("/")[2]])
                return
            if refused := web.refusal(self.path, self.headers.get("Authorization", "")):
                self.answer_with(*refused)
                return
            if "/info/lfs/" in self.path:
                self.answer_large(_offers(data, web))
                return
            head, _, body = _backend(self, directory, data).partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def answer_with(self, status: int, name: str, value: str) -> None:
            self.send_response(status)
            self.send_header(name, value)
            self.end_headers()

        def answer_large(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.git-lfs+json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(Handler) as address:
        web = GitWeb(address=address, password=password, moved=moved)
        yield web


def large_file(content: bytes) -> tuple[str, str]:
    """Return the digest of a file, and the pointer that git LFS keeps in its place."""
    digest = hashlib.sha256(content).hexdigest()
    version = "https://git-lfs.github.com/spec/v1"
    return digest, f"version {version}\noid sha256:{digest}\nsize {len(content)}\n"


def _offers(data: bytes, web: GitWeb) -> bytes:
    """Answer as a server of git LFS where the files are that it is asked for."""

    def offer(digest: str) -> dict[str, object]:
        if digest not in web.large_files:
            return {"error": {"code": 404, "message": "no such file"}}
        return {"actions": {"download": {"href": f"{web.address}/large/{digest}"}}}

    objects = [{**wanted, **offer(wanted["oid"])} for wanted in json.loads(data)["objects"]]
    return json.dumps({"transfer": "basic", "objects": objects}).encode()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", "0")))
    data = b""
    while size := int(request.rfile.readline(), 16):
        data += request.rfile.read(size)
        request.rfile.readline()
    return data


def _backend(request: BaseHTTPRequestHandler, directory: Path, data: bytes) -> bytes:
    path, _, query = request.path.partition("?")
    name, _, rest = path.partition(".git/")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "GIT_PROJECT_ROOT": str(directory),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "PATH_INFO": f"{name.rstrip('/')}/.git/{rest}",
        "QUERY_STRING": query,
        "REQUEST_METHOD": request.command,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(data)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "REMOTE_ADDR": "127.0.0.1",
    }
    command = ["git", "http-backend"]
    return subprocess.run(command, env=env, input=data, check=True, capture_output=True).stdout
