"""Docker's engine, if one runs somewhere: where it listens, what it can hold, and giving it images.

Its address comes from where docker's client takes it: DOCKER_HOST, the context, the usual socket. Only
the first two are a wish: without an engine at the usual socket there simply is none. Each question has a
connection to itself, as an engine leads nowhere else, and an archive that was read can't be sent again.

Source: Docker Engine API, "Import images"; docker's documentation of contexts.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode

from polyarch.digest import hex_of, sha256
from polyarch.engine.dialing import Address, connect
from polyarch.errors import MachineError, NotFound
from polyarch.exporter.outputs import EngineKind
from polyarch.http.connection import Connection
from polyarch.oci.fields import read_document
from polyarch.oci.reference import Reference
from polyarch.paths import docker_config_directory
from polyarch.platforms import Platform, from_words, normalize
from polyarch.progress import current_token
from polyarch.record import frozen

__all__ = ["DockerEngine", "address_at", "find_address", "find_engine"]

_USUAL = "unix:///var/run/docker.sock"
_CHUNK = 1 << 20
_LIMIT = 16 << 20
"""Bytes of an answer: what it says of a load grows with the layers, other than a document of an image."""
_WANTS_TLS = b"HTTP request to an HTTPS server"
"""What servers written in Go say to whoever doesn't speak TLS."""
_CONTAINERD = ["driver-type", "io.containerd.snapshotter.v1"]
_FIELDS = {"Host": "docker"}
_NO = frozenset({"", "0", "false"})


@frozen
class DockerEngine:
    """An engine at an address that something listens at."""

    address: Address

    @property
    def name(self) -> str:
        """What people call it."""
        return "docker" if not self.address.is_wanted else f"docker at {self.address}"

    def kind(self) -> EngineKind:
        """Tell whether it keeps images of several platforms under one name. Raises MachineError."""
        status = self._get("/info").get("DriverStatus")
        keeps_all = isinstance(status, list) and _CONTAINERD in status
        return EngineKind.INDEXES if keeps_all else EngineKind.SINGLE

    def platform(self) -> Platform:
        """Return what it runs by itself. Raises MachineError."""
        told = self._get("/version")
        return normalize(
            from_words(str(told.get("Os") or "linux"), str(told.get("Arch") or "amd64"))
        )

    def load(self, archive: BinaryIO, size: int) -> str:
        """Give it the `size` bytes of an archive, as `docker load` would; return "". Raises MachineError."""
        fields = {
            **_FIELDS,
            "Content-Type": "application/x-tar",
            "Content-Length": str(size),
        }
        with self._connected() as connection:
            pieces = iter(lambda: archive.read(_CHUNK), b"")
            answer = connection.exchange("POST", "/images/load?quiet=1", fields, pieces)
            said = answer.read(_LIMIT)
        if trouble := _trouble(answer.status, said):
            raise MachineError(f"the docker engine at {self.address} refused the image: {trouble}")
        return ""

    def give_names(self, names: Sequence[Reference], images: Sequence[str]) -> None:
        """Let names stand for an image that it has, by its ID. Raises MachineError."""
        for name in names:
            asked = urlencode({"repo": name.familiar_name, "tag": name.tag or "latest"})
            with self._connected() as connection:
                target = f"/images/{images[0]}/tag?{asked}"
                answer = connection.exchange(
                    "POST", target, {**_FIELDS, "Content-Length": "0"}, b""
                )
                said = answer.read(_LIMIT)
            if trouble := _trouble(answer.status, said):
                raise MachineError(f"the docker engine at {self.address} refused a name: {trouble}")

    def _get(self, target: str) -> dict[str, object]:
        with self._connected() as connection:
            answer = connection.exchange("GET", target, _FIELDS, b"")
            said = answer.read(_LIMIT)
            if answer.status < 400:
                told: object = json.loads(said)
                return told if isinstance(told, dict) else {}
        wants_tls = _WANTS_TLS in said
        raise MachineError(
            f"the docker engine at {self.address} answered {target} with {_trouble(answer.status, said)}"
            f"{': it speaks TLS' if wants_tls else ''}",
            hint="set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to where its certificates are"
            if wants_tls
            else "",
        )

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        token = current_token()
        try:
            with connect(self.address) as connection:
                forget = token.on_cancel(connection.break_off)
                try:
                    yield connection
                finally:
                    forget()
        except (OSError, ValueError) as error:
            token.check()
            raise MachineError(f"the docker engine at {self.address} broke off: {error}") from error


def find_address(environ: Mapping[str, str], context: str = "") -> Address:
    """Return the engine's address. Raises NotFound."""
    host = environ.get("DOCKER_HOST", "")
    if not context and host:
        return _by_variables(environ, host)
    context = context or environ.get("DOCKER_CONTEXT", "") or _current_context(environ)
    if context in {"", "default"}:
        return _by_variables(environ, host) if host else Address(url=_USUAL)
    key = hex_of(sha256(context.encode()))
    directory = docker_config_directory(environ) / "contexts"
    try:
        meta = read_document((directory / "meta" / key / "meta.json").read_bytes())
    except OSError as error:
        raise NotFound(
            f'context "{context}": context not found', hint="docker context ls lists them"
        ) from error
    endpoint = meta.object("Endpoints").object("docker")
    certificates = directory / "tls" / key / "docker"
    return Address(
        url=endpoint.text("Host") or _USUAL,
        certificates=certificates if certificates.exists() else None,
        is_insecure=endpoint.flag("SkipTLSVerify"),
        is_wanted=True,
        environ=environ,
    )


def address_at(environ: Mapping[str, str], endpoint: str) -> Address:
    """Return the engine that a builder's endpoint is: an address, or the name of a context. Raises NotFound."""
    if "://" not in endpoint:
        return find_address(environ, endpoint)
    if endpoint == environ.get("DOCKER_HOST", ""):
        return _by_variables(environ, endpoint)
    return Address(url=endpoint, is_wanted=True, environ=environ)


def _by_variables(environ: Mapping[str, str], host: str) -> Address:
    is_checked = environ.get("DOCKER_TLS_VERIFY", "") != ""
    speaks_tls = is_checked or environ.get("DOCKER_TLS", "").lower() not in _NO
    directory = environ.get("DOCKER_CERT_PATH", "")
    return Address(
        url=host,
        certificates=Path(directory or docker_config_directory(environ)) if speaks_tls else None,
        is_insecure=speaks_tls and not is_checked,
        # docker compose names the usual one to all that it calls, also where nobody has chosen any.
        is_wanted=host != _USUAL,
        environ=environ,
    )


def _current_context(environ: Mapping[str, str]) -> str:
    try:
        data = (docker_config_directory(environ) / "config.json").read_bytes()
    except OSError:
        return ""
    return read_document(data).text("currentContext")


def find_engine(environ: Mapping[str, str] = os.environ, context: str = "") -> DockerEngine | None:
    """Return the engine of this user, or None where nobody asked for one and none listens.

    Raises MachineError if the one that was asked for doesn't listen, InputError, NotFound.
    """
    address = find_address(environ, context)
    try:
        with connect(address) as connection:
            if address.url.startswith("ssh://"):  # else it is there that something listens
                connection.exchange("GET", "/_ping", _FIELDS, b"").read(_LIMIT)
    except OSError as error:
        if not address.is_wanted:
            return None
        raise MachineError(
            f"Cannot connect to the Docker daemon at {address}: {error.strerror or error}",
            hint="start it; or unset DOCKER_HOST (docker context use default), and the image stays in "
            "polyarch's own store",
        ) from error
    return DockerEngine(address=address)


def _trouble(status: int, said: bytes) -> str:
    """Return what an answer complains of: its status tells only what went wrong at the start."""
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if status >= 400 or "error" in message:
                return str(message.get("error") or message.get("message"))
    return f"status {status}" if status >= 400 else ""
