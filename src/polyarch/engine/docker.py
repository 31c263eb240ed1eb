"""Docker's engine, if one runs here: where it listens, what it can hold, and giving it an image.

Its address comes from where docker's client takes it: DOCKER_HOST, the context, the usual socket. Only
the first two are a wish: without an engine at the usual socket there simply is none. Each question has a
connection to itself, as an engine leads nowhere else, and an archive that was read can't be sent again.

Source: Docker Engine API, "Import images"; docker's documentation of contexts.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from polyarch.digest import hex_of, sha256
from polyarch.errors import InputError, MachineError, NotFound
from polyarch.http.connection import Connection
from polyarch.oci.fields import read_document
from polyarch.paths import docker_config_directory
from polyarch.record import frozen

__all__ = ["DockerEngine", "find_address", "find_engine"]

_USUAL = "unix:///var/run/docker.sock"
_PORT = 2375
_PATIENCE = 600.0
_CHUNK = 1 << 20
_LIMIT = 16 << 20
"""Bytes of an answer: what it says of a load grows with the layers, other than a document of an image."""
_CONTAINERD = ["driver-type", "io.containerd.snapshotter.v1"]


@frozen
class DockerEngine:
    """An engine at an address that something listens at."""

    address: str

    def holds_indexes(self) -> bool:
        """Tell whether it keeps images of several platforms under one name. Raises MachineError."""
        with self._connected() as connection:
            answer = connection.exchange("GET", "/info", {"Host": "docker"}, b"")
            info: Any = json.loads(answer.read(_LIMIT))
        return _CONTAINERD in (info.get("DriverStatus") or [])

    def load(self, archive: BinaryIO, size: int) -> None:
        """Give it the `size` bytes of an archive, as `docker load` would. Raises MachineError."""
        fields = {
            "Host": "docker",
            "Content-Type": "application/x-tar",
            "Content-Length": str(size),
        }
        with self._connected() as connection:
            pieces = iter(lambda: archive.read(_CHUNK), b"")
            answer = connection.exchange("POST", "/images/load?quiet=1", fields, pieces)
            said = answer.read(_LIMIT)
        if trouble := _trouble(answer.status, said):
            raise MachineError(f"the docker engine at {self.address} refused the image: {trouble}")

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            connection = Connection(_connect(self.address))
            try:
                yield connection
            finally:
                connection.close()
        except (OSError, ValueError) as error:
            raise MachineError(f"the docker engine at {self.address} broke off: {error}") from error


def find_address(environ: Mapping[str, str], context: str = "") -> tuple[str, bool]:
    """Return the engine's address, and whether somebody asked for that one. Raises NotFound."""
    host = environ.get("DOCKER_HOST", "")
    if not context and host:
        return host, True
    context = context or environ.get("DOCKER_CONTEXT", "") or _current_context(environ)
    if context in {"", "default"}:
        return host or _USUAL, bool(host)
    directory = (
        docker_config_directory(environ) / "contexts/meta" / hex_of(sha256(context.encode()))
    )
    try:
        meta = read_document((directory / "meta.json").read_bytes())
    except OSError as error:
        raise NotFound(
            f'context "{context}": context not found', hint="docker context ls lists them"
        ) from error
    return meta.object("Endpoints").object("docker").text("Host") or _USUAL, True


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
    address, is_wanted = find_address(environ, context)
    if address.startswith("tcp://") and _wants_tls(environ, context):
        # Said in clear, an image could be read and another one put in its place.
        raise _unsupported(f"{address} with TLS")
    try:
        _connect(address).close()
    except OSError as error:
        if not is_wanted:
            return None
        raise MachineError(
            f"Cannot connect to the Docker daemon at {address}: {error.strerror or error}",
            hint="start it; or unset DOCKER_HOST (docker context use default), and the image stays in "
            "polyarch's own store",
        ) from error
    return DockerEngine(address=address)


def _connect(address: str) -> socket.socket:
    kind, _, place = address.partition("://")
    if kind == "unix":
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(_PATIENCE)
        try:
            client.connect(place)
        except OSError:
            client.close()
            raise
        return client
    if kind == "tcp":
        host, _, port = place.rstrip("/").rpartition(":")
        return socket.create_connection((host or place, int(port or _PORT)), _PATIENCE)
    raise _unsupported(address)


def _wants_tls(environ: Mapping[str, str], context: str) -> bool:
    """Tell whether docker's client would speak TLS to an address."""
    if not context and environ.get("DOCKER_HOST"):
        return bool(environ.get("DOCKER_TLS_VERIFY") or environ.get("DOCKER_TLS"))
    name = context or environ.get("DOCKER_CONTEXT", "") or _current_context(environ)
    return (
        docker_config_directory(environ) / "contexts/tls" / hex_of(sha256(name.encode()))
    ).exists()


def _unsupported(address: str) -> InputError:
    return InputError(
        f"a docker engine at {address} can't be given images yet",
        hint="use one at a unix:// or tcp:// address, or -o type=docker,dest=FILE and docker load",
    )


def _trouble(status: int, said: bytes) -> str:
    """Return what an answer complains of: its status tells only what went wrong at the start."""
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if status >= 400 or "error" in message:
                return str(message.get("error") or message.get("message"))
    return f"status {status}" if status >= 400 else ""
