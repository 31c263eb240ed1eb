"""The way to a daemon: a channel of gRPC to where an address leads."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase

from polyarch.buildkit.address import Target
from polyarch.errors import MachineError

__all__ = ["BytesCodec", "connect"]


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
    if target.dial is not None:
        return _DialedChannel(target.dial)
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
    for name in {"cacert", "cert", "key"} & options.keys():
        if not os.access(options[name], os.R_OK):
            raise MachineError(
                f"the file {options[name]} of the builder's option {name} can't be read",
                hint="the option names a file of this machine: polyarch inspect shows it",
            )
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


class _DialedChannel(Channel):
    """A channel through a socket that somebody else connects."""

    def __init__(self, dial: Callable[[], socket.socket]) -> None:
        super().__init__(path="/", codec=BytesCodec())
        self._dial = dial

    async def _create_connection(self) -> Any:
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(None, self._dial)
        _, protocol = await loop.create_connection(self._protocol_factory, sock=connection)
        return protocol


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
