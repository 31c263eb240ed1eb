"""Containers of Docker's engine: made, started, looked at, run in, removed. Each question has a connection to itself.

Source: Docker Engine API, v1.40.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from urllib.parse import quote, urlencode

from polyarch.engine.dialing import Address, connect
from polyarch.engine.piping import Frames, piped, read_streams
from polyarch.errors import MachineError
from polyarch.golang.json import compact
from polyarch.http.connection import Answer, Upgraded
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.reference import parse
from polyarch.record import frozen
from polyarch.registry.credentials import Credentials

__all__ = ["Containers", "Ended", "EngineRefused"]

_LIMIT = 16 << 20
_HOST = {"Host": "docker"}
_HUB = "https://index.docker.io/v1/"


class EngineRefused(MachineError):
    """The engine answered that it won't, or can't; the message is its own."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_missing(self) -> bool:
        """Whether what was asked about isn't there."""
        return self.status == 404

    @property
    def is_taken(self) -> bool:
        """Whether somebody else has made it meanwhile."""
        return self.status == 409


@frozen
class Ended:
    """A program that was run in a container: its exit status, and what it printed."""

    status: int
    output: str
    errors: str


@frozen
class Containers:
    """What an engine at an address is asked. All of it raises MachineError, EngineRefused among them."""

    address: Address

    # --- what there is ---

    def information(self) -> Fields:
        """Return what the engine tells of itself."""
        return self._read("/info")

    def version(self) -> Fields:
        """Return what the engine tells of its version."""
        return self._read("/version")

    def container(self, name: str) -> Fields | None:
        """Return what there is to know of a container, None if there is none."""
        return self._find(f"/containers/{quote(name, safe='')}/json")

    def image(self, name: str) -> Fields | None:
        """Return what there is to know of an image, None if there is none."""
        return self._find(f"/images/{quote(name, safe='/:@')}/json")

    # --- what is done ---

    def pull(self, name: str, credentials: Credentials, tell: Callable[[str], None]) -> None:
        """Have an image fetched; `tell` is told what the engine says meanwhile."""
        reference = parse(name)
        found = credentials.find(reference.domain)
        known = {
            "username": found.user,
            "password": found.password,
            "identitytoken": found.identity_token,
            "serveraddress": _HUB if reference.domain == "docker.io" else reference.domain,
        }
        fields = {"X-Registry-Auth": base64.urlsafe_b64encode(compact(known)).decode()}
        asked = {
            "fromImage": reference.familiar_name,
            "tag": reference.digest or reference.tag or "latest",
        }
        said = self._ask("POST", f"/images/create?{urlencode(asked)}", fields=fields)
        for line in said.splitlines():
            told = read_document(line)
            if trouble := told.text("error"):
                raise MachineError(trouble)
            if text := told.text("status"):
                tell(text)

    def create(self, name: str, document: Mapping[str, object]) -> None:
        """Make a container."""
        self._ask("POST", f"/containers/create?{urlencode({'name': name})}", document)

    def put(self, name: str, directory: str, archive: bytes) -> None:
        """Unpack an archive in a container's directory."""
        target = f"/containers/{quote(name)}/archive?{urlencode({'path': directory})}"
        fields = {"Content-Type": "application/x-tar"}
        self._ask("PUT", target, archive, fields=fields)

    def start(self, name: str) -> None:
        """Start a container; one that runs already is left alone."""
        self._ask("POST", f"/containers/{quote(name)}/start")

    def stop(self, name: str) -> None:
        """Stop a container."""
        self._ask("POST", f"/containers/{quote(name)}/stop")

    def remove(self, name: str) -> None:
        """Remove a container, whether it runs or not, and its volumes without a name."""
        self._ask("DELETE", f"/containers/{quote(name)}?v=1&force=1")

    def remove_volume(self, name: str) -> None:
        """Remove a volume."""
        self._ask("DELETE", f"/volumes/{quote(name)}")

    def logs(self, name: str) -> bytes:
        """Return what a container has printed."""
        said = self._ask("GET", f"/containers/{quote(name)}/logs?stdout=1&stderr=1&tail=100")
        return b"".join(piece for _, piece in Frames().split(said))

    # --- programs in containers ---

    def run(self, name: str, words: Sequence[str]) -> Ended:
        """Run a program in a container and return what came of it."""
        identifier = self._prepare(name, words)
        with ExitStack() as held:
            far = self._upgraded(f"/exec/{identifier}/start", "tcp", _START, held)
            try:
                output, errors = read_streams(far)
            except OSError as error:
                raise self._broken(error) from error
        status = self._read(f"/exec/{identifier}/json").integer("ExitCode")
        return Ended(
            status=status,
            output=output.decode(errors="replace"),
            errors=errors.decode(errors="replace"),
        )

    def dial(self, name: str, words: Sequence[str]) -> socket.socket:
        """Run a program in a container and return a socket that leads to its input and output."""
        identifier = self._prepare(name, words)
        return self._dial(f"/exec/{identifier}/start", "tcp", Frames().output, _START)

    def dial_buildkit(self) -> socket.socket:
        """Return a socket that leads to the BuildKit that is a part of the engine."""
        return self._dial("/grpc", "h2c", bytes, b"")

    def _prepare(self, name: str, words: Sequence[str]) -> str:
        streams = dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), True)
        document = {**streams, "Cmd": list(words)}
        said = self._ask("POST", f"/containers/{quote(name)}/exec", document)
        return read_document(said).text("Id", required=True)

    def _dial(
        self, target: str, protocol: str, pick: Callable[[bytes], bytes], body: bytes
    ) -> socket.socket:
        with ExitStack() as held:
            far = self._upgraded(target, protocol, body, held)
            return piped(far, pick, held.pop_all())

    def _upgraded(self, target: str, protocol: str, body: bytes, held: ExitStack) -> Upgraded:
        fields = {
            **_HOST,
            "Connection": "Upgrade",
            "Upgrade": protocol,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        try:
            connection = held.enter_context(connect(self.address))
            answer = connection.upgrade(target, fields, body)
            if isinstance(answer, Answer):
                raise _refusal(answer.status, answer.read(_LIMIT))
        except OSError as error:
            raise self._broken(error) from error
        return answer

    # --- questions ---

    def _read(self, target: str) -> Fields:
        return read_document(self._ask("GET", target))

    def _find(self, target: str) -> Fields | None:
        try:
            return self._read(target)
        except EngineRefused as error:
            if error.is_missing:
                return None
            raise

    def _ask(
        self,
        method: str,
        target: str,
        body: Mapping[str, object] | bytes = b"",
        *,
        fields: Mapping[str, str] | None = None,
    ) -> bytes:
        data = body if isinstance(body, bytes) else compact(dict(body))
        kind = {} if isinstance(body, bytes) else {"Content-Type": "application/json"}
        sent = {**_HOST, **kind, "Content-Length": str(len(data)), **(fields or {})}
        try:
            with connect(self.address) as connection:
                answer = connection.exchange(method, target, sent, data)
                said = answer.read(_LIMIT)
        except OSError as error:
            raise self._broken(error) from error
        if answer.status >= 400:
            raise _refusal(answer.status, said)
        return said

    def _broken(self, error: OSError) -> MachineError:
        return MachineError(
            f"failed to connect to the docker API at {self.address}: {error.strerror or error}",
            hint="look whether the engine runs there, and whether its address and certificates are right: docker version",
        )


_START = compact({"Detach": False, "Tty": False})


def _refusal(status: int, said: bytes) -> EngineRefused:
    try:
        message = str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        message = said.decode(errors="replace").strip()[:200] or f"status {status}"
    return EngineRefused(message, status)
