"""Where a server listens: `unix://PATH`, `tcp://HOST:PORT`, or `stdio`.

A client may do whatever the server's user may, since it says what steps run and which caches are written. So a socket's file
is its owner's alone, and a port is either on this machine only, or asks for clients' certificates.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from polyarch.errors import InputError, MachineError
from polyarch.http.tls import tolerate
from polyarch.record import frozen

__all__ = [
    "STDIO",
    "Address",
    "Certificates",
    "context_of",
    "default_address",
    "listen",
    "parse_address",
]

STDIO = "stdio"
_HINT = "write unix://PATH, tcp://HOST:PORT or stdio"
_MODE = 0o600
_BACKLOG = 128


@frozen
class Certificates:
    """Files for TLS: the server's certificate and key, and the CA whose clients may come; "" for none."""

    certificate: str = ""
    key: str = ""
    authority: str = ""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.certificate or self.key or self.authority)


@frozen
class Address:
    """Where to listen: a socket's path, or a host and its port, or neither for standard input and output."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """Write it as clients do."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}" if self.host else STDIO


def default_address(environ: Mapping[str, str]) -> str:
    """Return where to listen by default: a socket in the user's runtime directory."""
    directory = environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else _shared())
    return f"unix://{directory}/polyarch/buildkitd.sock"


def _shared() -> str:
    """Return our directory below one that all users share; `_check_own` makes sure that it is ours."""
    return f"/tmp/polyarch-{os.geteuid()}"  # noqa: S108 see there


def parse_address(text: str, certificates: Certificates, *, is_open: bool = False) -> Address:
    """Understand an address. Raises InputError, also for one that others could reach; `is_open` allows that."""
    if text in {STDIO, "stdio://"}:
        return Address()
    url = urlsplit(text)
    if url.scheme == "unix" and text.removeprefix("unix://"):
        return Address(path=os.path.abspath(text.removeprefix("unix://")))
    try:
        port = url.port
    except ValueError:
        port = None
    if url.scheme != "tcp" or not url.hostname or port is None:
        raise InputError(f"{text!r} isn't an address to listen at", hint=_HINT)
    if bool(certificates.certificate) != bool(certificates.key):
        raise InputError(
            "TLS needs both a certificate and its key", hint="give --tlscert and --tlskey"
        )
    if not is_open and not _is_loopback(url.hostname):
        if not certificates.certificate:
            raise InputError(
                f"{text} can be reached from other machines, and anyone who reaches it may do what you may",
                hint="give --tlscert, --tlskey and --tlscacert, listen at 127.0.0.1, or say --insecure",
            )
        if not certificates.authority:
            raise InputError(
                f"{text} can be reached from other machines, and any client would be let in",
                hint="name the CA of clients' certificates with --tlscacert, or say --insecure",
            )
    return Address(host=url.hostname, port=port)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def listen(address: Address) -> socket.socket:
    """Return a socket that listens at an address. Raises MachineError."""
    try:
        return _listen_unix(Path(address.path)) if address.path else _listen_tcp(address)
    except OSError as error:
        raise MachineError(
            f"can't listen at {address}: {error.strerror or error}", hint="name another with --addr"
        ) from error


def _listen_unix(path: Path) -> socket.socket:
    if path.is_relative_to(_shared()):
        _check_own(_shared())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_way(path)

    def bind(server: socket.socket) -> None:
        # From the first moment on nobody else may connect.
        before = os.umask(0o177)
        try:
            server.bind(str(path))
        finally:
            os.umask(before)
        os.chmod(path, _MODE)

    return _listening(socket.AF_UNIX, bind)


def _check_own(directory: str) -> None:
    """Make a directory that only we may enter. Raises MachineError for one that others own or may write to."""
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    status = os.lstat(directory)
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not is_own or status.st_mode & 0o022:
        raise MachineError(
            f"{directory} is not a directory of yours alone: others could put their socket there",
            hint="name another place with --addr, or set XDG_RUNTIME_DIR",
        )


def _listening(family: int, bind: Callable[[socket.socket], None]) -> socket.socket:
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        bind(server)
        server.listen(_BACKLOG)
    except OSError:
        server.close()
        raise
    return server


def _make_way(path: Path) -> None:
    """Remove the socket of a server that was killed. Raises MachineError for anything else."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise MachineError(
            f"{path} is there already, and no socket", hint="name another with --addr"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise MachineError(
        f"somebody listens at {path} already", hint="use that one, or name another with --addr"
    )


def _listen_tcp(address: Address) -> socket.socket:
    family, _, _, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]

    def bind(server: socket.socket) -> None:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(where)

    return _listening(family, bind)


def context_of(certificates: Certificates) -> ssl.SSLContext | None:
    """Return how TLS is spoken, None for not at all. Raises MachineError."""
    if not certificates.certificate:
        return None
    context = tolerate(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
    try:
        context.load_cert_chain(certificates.certificate, certificates.key)
        if certificates.authority:
            context.load_verify_locations(certificates.authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise MachineError(
            f"the certificates can't be read: {error}",
            hint="look at --tlscert, --tlskey and --tlscacert",
        ) from error
    context.set_alpn_protocols(["h2"])
    return context
