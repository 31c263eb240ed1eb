"""The way to a daemon: a channel of gRPC to where an address leads."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase

from polyarch.buildkit.address import Target
from polyarch.errors import MachineError

__all__ = ["BytesCodec", "connect"]


_HEAD_LIMIT = 1 << 16


class BytesCodec(CodecBase):
    """Messages are bytes already."""

    __content_subtype__ = "proto"

    def encode(self, message: object, message_type: Any) -> bytes:
        """Return the message."""
        del message_type
        assert isinstance(message, bytes)
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        """Return the message."""
        del message_type
        return data


def connect(target: Target) -> Channel:
    """Return a channel to a daemon; it is connected by the first call.

    Raises MachineError for certificates that can't be read.
    """
    if target.is_engine:
        return _EngineChannel(target.path)
    if target.path:
        return Channel(path=target.path, codec=BytesCodec())
    if target.program:
        return _ProgramChannel(target.program)
    name = target.tls.get("servername")
    config = Configuration(ssl_target_name_override=name) if name else None
    tls = _tls(target.tls)
    return Channel(target.host, target.port, ssl=tls, codec=BytesCodec(), config=config)


def _tls(options: Mapping[str, str]) -> ssl.SSLContext | None:
    if not options:
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("cacert"))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options["key"])
    except (OSError, ssl.SSLError) as error:
        raise MachineError(
            f"the certificates of the builder can't be read: {error}",
            hint="look at the node's options cacert, cert and key: polyarch inspect",
        ) from error
    context.set_alpn_protocols(["h2"])
    return context


class _EngineChannel(Channel):
    """A channel to the BuildKit inside of Docker's engine, which is upgraded to from its own API."""

    _ASK = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"

    def __init__(self, path: str) -> None:
        super().__init__(path=path, codec=BytesCodec())
        self._socket_path = path

    async def _create_connection(self) -> Any:
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(None, self._upgraded)
        _, protocol = await loop.create_connection(self._protocol_factory, sock=connection)
        return protocol

    def _upgraded(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._socket_path)
            connection.sendall(self._ASK)
            # Not a byte more than the head: what follows is gRPC's.
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte or len(head) > _HEAD_LIMIT:
                    raise ConnectionError("the engine at the socket has no BuildKit")
                head += byte
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                raise ConnectionError("the engine at the socket has no BuildKit")
        except BaseException:
            connection.close()
            raise
        return connection


class _ProgramChannel(Channel):
    """A channel through the standard input and output of a program, which ends with it."""

    def __init__(self, program: tuple[str, ...]) -> None:
        super().__init__(path="/", codec=BytesCodec())
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    async def _create_connection(self) -> Any:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(self._protocol_factory, sock=self._start())
        return protocol

    def _start(self) -> socket.socket:
        """Start the program; returns the socket that it passes on. Raises ConnectionError."""
        ours, theirs = socket.socketpair()
        try:
            # With the user's own environment, which says where their engines and clusters are.
            self._process = subprocess.Popen(
                list(self._program),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            ours.close()
            raise ConnectionError(f"{self._program[0]}: {error.strerror}") from error
        finally:
            theirs.close()
        return ours

    def close(self) -> None:
        """End the connection, and the program."""
        super().close()
        if self._process is not None:
            with suppress(OSError):
                self._process.terminate()
            self._process.wait()
