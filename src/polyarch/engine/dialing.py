"""Connections to Docker's engine, wherever it listens: a socket, TCP with or without TLS, a machine behind ssh.

Source: docker's `cli/connhelper` for ssh, and its documentation of contexts and of DOCKER_TLS_VERIFY.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from polyarch.errors import InputError
from polyarch.http.connection import Connection
from polyarch.http.endpoint import Endpoint
from polyarch.process import base_environment
from polyarch.record import field, frozen

__all__ = ["Address", "connect"]

_PORT = 2375
_TLS_PORT = 2376
_PATIENCE = 600.0
_SSH_PATIENCE = 10.0
_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")


@frozen
class Address:
    """Where an engine listens.

    `url` is unix://PATH, tcp://HOST[:PORT] or ssh://[USER@]HOST[:PORT]; `certificates` has `ca.pem`, `cert.pem` and
    `key.pem` where TLS is spoken, None where it isn't; `is_wanted` says that somebody has asked for that one.
    """

    url: str
    certificates: Path | None = None
    is_insecure: bool = False
    is_wanted: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return self.url


@contextmanager
def connect(address: Address) -> Iterator[Connection]:
    """Give a connection to an engine. Raises OSError, InputError."""
    kind, _, place = address.url.partition("://")
    if kind == "unix":
        connection = Connection(_unix(place))
    elif kind in {"tcp", "https"}:
        connection = _tcp(address, place)
    elif kind == "ssh":
        with _ssh(address) as reached:
            yield reached
        return
    else:
        raise InputError(
            f"a docker engine at {address} can't be given images",
            hint="use one at a unix://, tcp:// or ssh:// address, or -o type=docker,dest=FILE and docker load",
        )
    try:
        yield connection
    finally:
        connection.close()


def _unix(place: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(_PATIENCE)
    try:
        client.connect(place)
    except OSError:
        client.close()
        raise
    return client


def _tcp(address: Address, place: str) -> Connection:
    host, _, port = place.rstrip("/").rpartition(":")
    is_plain = address.certificates is None and not address.is_insecure
    usual = _PORT if is_plain else _TLS_PORT
    client = socket.create_connection((host or place.rstrip("/"), int(port or usual)), _PATIENCE)
    if is_plain:
        return Connection(client)
    # OpenSSL takes 15 ms to load, and most engines listen at a socket.
    from polyarch.http.tls import new_context, secured  # noqa: PLC0415

    try:
        return secured(client, host, new_context(_endpoint(address, host), None))
    except BaseException:
        client.close()
        raise


def _endpoint(address: Address, host: str) -> Endpoint:
    directory = address.certificates
    if directory is None:
        return Endpoint(host=host, insecure=address.is_insecure)
    authority, pair = directory / "ca.pem", (directory / "cert.pem", directory / "key.pem")
    return Endpoint(
        host=host,
        insecure=address.is_insecure,
        authorities=(authority,) if authority.exists() else (),
        keypairs=(pair,) if pair[0].exists() else (),
    )


@contextmanager
def _ssh(address: Address) -> Iterator[Connection]:
    """Speak with the engine of another machine, by the docker program that is there."""
    words = _ssh_words(address)
    ours, theirs = socket.socketpair()
    ours.settimeout(_PATIENCE)
    # Its end is waited for by whoever has started it, so it can be no child of a thread that goes on.
    with theirs:
        child = subprocess.Popen(
            words,
            env=_ssh_environment(address.environ),
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
        )
    connection = Connection(ours)
    try:
        yield connection
    except OSError as error:
        child.terminate()
        said = child.communicate()[1].decode("utf-8", "replace").strip()
        raise OSError(said or str(error)) from error
    finally:
        connection.close()
        with suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=_SSH_PATIENCE)
        if child.returncode is None:
            child.kill()
            child.communicate()


def _ssh_files(directory: Path) -> list[str]:
    """Return the words that have ssh use the settings, hosts and keys in a directory."""
    config = directory / "config"
    keys = [directory / name for name in _IDENTITIES if (directory / name).is_file()]
    words = ["-F", str(config)] if config.is_file() else []
    words += ["-o", f"UserKnownHostsFile={directory / 'known_hosts'}"]
    return [*words, *(word for key in keys for word in ("-i", str(key)))]


def _ssh_words(address: Address) -> list[str]:
    parts = urlsplit(address.url)
    if not parts.hostname or parts.hostname.startswith("-") or parts.password:
        raise InputError(
            f"{address} is no address of a machine", hint="write ssh://[USER@]HOST[:PORT]"
        )
    words = ["ssh", "-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "-T"]
    user = parts.username or (address.environ.get("USER", "") if os.getuid() == 0 else "")
    words += ["-l", user] if user else []
    words += ["-p", str(parts.port)] if parts.port else []
    # ssh asks for the home of who it thinks we are, which in the engine's namespace is root.
    words += _ssh_files(Path(address.environ.get("HOME", "")) / ".ssh")
    there = ["docker"]
    if parts.path not in {"", "/"}:
        there += ["--host", f"unix://{parts.path}"]
    return [*words, "--", parts.hostname, *there, "system", "dial-stdio"]


def _ssh_environment(environ: Mapping[str, str]) -> dict[str, str]:
    agent = environ.get("SSH_AUTH_SOCK", "")
    return base_environment(**({"SSH_AUTH_SOCK": agent} if agent else {}))
