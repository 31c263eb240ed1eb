"""The way to a daemon: a channel of gRPC to where an address leads."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import H2Protocol

from polyarch.buildkit.address import Target
from polyarch.buildkit.farewell import Farewell
from polyarch.buildkit.lastwords import LastWords, spoken
from polyarch.errors import MachineError
from polyarch.http.tls import tolerate

__all__ = ["BytesCodec", "Said", "connect", "open_bytes"]

_KEPT = 4 << 10
"""Bytes of what a program has printed that are looked at."""


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
        return _DialedChannel(target.dial, target.words or LastWords())
    if target.path:
        return _Channel(path=target.path, codec=BytesCodec())
    if target.program:
        return _ProgramChannel(target.program)
    name = target.tls.get("servername")
    config = Configuration(ssl_target_name_override=name) if name else None
    tls = _tls(target.tls)
    return _Channel(target.host, target.port, ssl=tls, codec=BytesCodec(), config=config)


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
        context = tolerate(ssl.create_default_context(cafile=options.get("cacert")))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options["key"])
    except (OSError, ssl.SSLError) as error:
        raise MachineError(
            f"the certificates of the builder can't be read: {error}",
            hint="look at the node's options cacert, cert and key: polyarch inspect",
        ) from error
    context.set_alpn_protocols(["h2"])
    return context


class Said(str):
    """What is known of why a connection ended: as gRPC's library hands errors on as texts, one that is told from its own."""

    __slots__ = ()


class _Protocol(H2Protocol):
    """HTTP/2 with a daemon that may go away in good order; where the connection ends, the calls that wait fail with the reason."""

    words: LastWords
    farewell: Farewell

    def data_received(self, data: bytes) -> None:
        if passed := self.farewell.without(data):
            super().data_received(passed)

    def connection_lost(self, exc: BaseException | None) -> None:
        del exc
        self.processor.close(reason=self.ending())

    def ending(self) -> str:
        """Return why the connection has ended."""
        said = str(self.words)
        if self.farewell.is_said:
            return Said("it was told to stop" + (f" ({said})" if said else ""))
        if not said and self.farewell.has_spoken:
            return Said("the connection was closed")
        return Said(said)


class _Details(StatusDetailsCodecBase):
    """Details of errors are bytes, which are looked at where an error becomes ours."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """Return nothing: clients send none."""
        del status, message, details
        return b""

    def decode(self, status: Status, message: str | None, data: bytes) -> bytes:
        """Return the whole status."""
        del status, message
        return data


class _Channel(Channel):
    """A channel that notices if a connection has ended before the first call: gRPC's library stumbles over that.

    What is called after the daemon said goodbye is called by another connection.
    """

    _words = LastWords()
    """Of the program on the way, if there is one."""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, status_details_codec=_Details(), **more)
        self._former: list[_Protocol] = []

    @property
    def _connected(self) -> bool:
        protocol = self._protocol
        if isinstance(protocol, _Protocol) and protocol.farewell.is_said:
            self._former.append(protocol)
            self._protocol = None
        return super()._connected

    async def __connect__(self) -> H2Protocol:
        protocol = await super().__connect__()
        if getattr(protocol.handler, "connection_lost", False):
            assert isinstance(protocol, _Protocol)
            raise StreamTerminatedError(protocol.ending())
        return protocol

    def _protocol_factory(self) -> H2Protocol:
        protocol = _Protocol(Handler(), self._config, self._h2_config)
        protocol.words, protocol.farewell = self._words, Farewell()
        return protocol

    def close(self) -> None:
        """End the connection, and those before it."""
        super().close()
        for protocol in self._former:
            protocol.processor.close()


class _Printed(LastWords):
    """What a program of this machine has printed on standard error: nobody has to read it while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptor = os.memfd_create("stderr")

    def __str__(self) -> str:
        if self.descriptor < 0:
            return ""
        start = max(0, os.fstat(self.descriptor).st_size - _KEPT)
        return spoken(os.pread(self.descriptor, _KEPT, start))

    def close(self) -> None:
        """Forget it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _ThroughProgram(_Channel):
    """A channel through what may say why it ended."""

    def __init__(self, words: LastWords) -> None:
        super().__init__(path="/", codec=BytesCodec())
        self._words = words


class _DialedChannel(_ThroughProgram):
    """A channel through a socket that somebody else connects."""

    def __init__(self, dial: Callable[[], socket.socket], words: LastWords) -> None:
        super().__init__(words)
        self._dial = dial

    async def _create_connection(self) -> Any:
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(None, self._dial)
        _, protocol = await loop.create_connection(self._protocol_factory, sock=connection)
        return protocol


class _ProgramChannel(_ThroughProgram):
    """A channel through the standard input and output of a program, which ends with it."""

    def __init__(self, program: tuple[str, ...]) -> None:
        printed = _Printed()
        super().__init__(printed)
        self._printed = printed
        self._program = program
        self._processes: list[subprocess.Popen[bytes]] = []

    async def _create_connection(self) -> Any:
        loop = asyncio.get_running_loop()
        process, connection = _started(self._program, self._printed.descriptor)
        self._processes.append(process)
        _, protocol = await loop.create_connection(self._protocol_factory, sock=connection)
        return protocol

    def close(self) -> None:
        """End the connection, and the program."""
        super().close()
        for process in self._processes:
            _end(process)
        self._printed.close()


def _started(
    program: tuple[str, ...], errors: int | None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a program; returns it and the socket that it passes on. Raises ConnectionError."""
    ours, theirs = socket.socketpair()
    try:
        # With the user's own environment, which says where their engines and clusters are.
        process = subprocess.Popen(
            list(program), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=errors
        )
    except OSError as error:
        ours.close()
        raise ConnectionError(f"{program[0]}: {error.strerror}") from error
    finally:
        theirs.close()
    return process, ours


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        process.terminate()
    process.wait()


@asynccontextmanager
async def open_bytes(
    target: Target,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a daemon without speaking with it. What a program on the way prints is the user's to see.

    Raises MachineError, OSError.
    """
    process = None
    if target.dial is not None:
        connection = await asyncio.get_running_loop().run_in_executor(None, target.dial)
        reader, writer = await asyncio.open_connection(sock=connection)
    elif target.path:
        reader, writer = await asyncio.open_unix_connection(target.path)
    elif target.program:
        process, connection = _started(target.program, None)
        reader, writer = await asyncio.open_connection(sock=connection)
    else:
        tls = _tls(target.tls)
        name = target.tls.get("servername") or None if tls else None
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=tls, server_hostname=name
        )
    try:
        yield reader, writer
    finally:
        writer.close()
        if process is not None:
            _end(process)
