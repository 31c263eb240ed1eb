"""What a daemon may ask us for during a build: credentials, secrets, ssh agents, and places for outputs.

Source: BuildKit's `session` package: `auth.proto`, `secrets.proto`, `ssh.proto`, `filesync.proto`.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Method
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from polyarch.buildkit.content import info_method, read_method, write_method
from polyarch.buildkit.files import Directory, directory_method
from polyarch.errors import PolyarchError
from polyarch.images.layout import Layout
from polyarch.record import field as record_field
from polyarch.record import frozen
from polyarch.registry.credentials import Credentials
from polyarch.wire import Message, field
from polyarch.worker.agent import short_name
from polyarch.worker.secrets import Secrets

__all__ = ["Attached", "methods"]

_CHUNK = 1 << 16
_CONTENT = "/containerd.services.content.v1.Content"
_SERVING = field(1, 1)
_POLICY = "/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy"
_EXPORTER = "buildkit-attachable-exporter-id"
_AGENT = "buildkit.ssh.id"

Taker = Callable[[bytes], None]
Asked = Stream[bytes, bytes]
"""A call of the daemon's: what it sends, and what is answered."""
Call = Callable[[Asked], Awaitable[None]]


@frozen
class Attached:
    """What a build may be asked for.

    `outputs` take the bytes of archives, by the number of the exporter; `layouts` are stores of content by their IDs,
    `caches` those that are written as well.
    """

    directories: Mapping[str, Directory]
    secrets: Secrets
    credentials: Credentials
    outputs: Mapping[int, Taker]
    layouts: Mapping[str, Layout] = record_field(default_factory=dict)
    caches: Mapping[str, Layout] = record_field(default_factory=dict)
    policy: Callable[[bytes], bytes] | None = None
    """Answers a CheckPolicyRequest by a CheckPolicyResponse."""

    @property
    def stores(self) -> Mapping[str, Layout]:
        """All that is read, as far as it is known by now."""
        return ChainMap(dict(self.caches), self.layouts)  # type: ignore[arg-type]


def methods(attached: Attached) -> dict[str, Method]:
    """Return the methods by their paths."""
    unary, streamed = Cardinality.UNARY_UNARY, Cardinality.STREAM_STREAM
    found: dict[str, tuple[Cardinality, Call]] = {
        "/grpc.health.v1.Health/Check": (unary, _healthy),
        "/moby.filesync.v1.Auth/Credentials": (unary, _credentials(attached.credentials)),
        "/moby.filesync.v1.FileSync/DiffCopy": (streamed, directory_method(attached.directories)),
        "/moby.filesync.v1.FileSend/DiffCopy": (streamed, _output(attached.outputs)),
        "/moby.buildkit.secrets.v1.Secrets/GetSecret": (unary, _secret(attached.secrets)),
        "/moby.sshforward.v1.SSH/CheckAgent": (unary, _check_agent(attached.secrets)),
        "/moby.sshforward.v1.SSH/ForwardAgent": (streamed, _forward_agent(attached.secrets)),
    }
    found[f"{_CONTENT}/Info"] = unary, info_method(attached.stores)
    found[f"{_CONTENT}/Read"] = Cardinality.UNARY_STREAM, read_method(attached.stores)
    found[f"{_CONTENT}/Write"] = streamed, write_method(attached.caches)
    if attached.policy is not None:
        found[_POLICY] = unary, _policy(attached.policy)
    return {
        path: Method(_guarded(call), cardinality, bytes, bytes)
        for path, (cardinality, call) in found.items()
    }


def _policy(check: Callable[[bytes], bytes]) -> Call:
    async def call(stream: Asked) -> None:
        data = await stream.recv_message() or b""
        # It evaluates for as long as it takes, and may read files.
        loop = asyncio.get_running_loop()
        await stream.send_message(await loop.run_in_executor(None, check, data))

    return call


def _guarded(call: Call) -> Call:
    """Tell the daemon of our own errors; it shows them as those of the step that asked."""

    async def guarded(stream: Asked) -> None:
        try:
            await call(stream)
        except PolyarchError as error:
            raise GRPCError(Status.UNKNOWN, str(error)) from error
        except OSError as error:
            raise GRPCError(Status.UNKNOWN, error.strerror or str(error)) from error

    return guarded


async def _request(stream: Asked) -> Message:
    return Message(await stream.recv_message() or b"")


def _metadata(stream: Asked, name: str) -> str:
    value = stream.metadata.get(name) if stream.metadata is not None else None
    return value if isinstance(value, str) else ""


async def _healthy(stream: Asked) -> None:
    await stream.recv_message()
    await stream.send_message(_SERVING)


def _credentials(credentials: Credentials) -> Call:
    async def call(stream: Asked) -> None:
        host = (await _request(stream)).text(1)
        # A helper may be a program that takes its time.
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, credentials.find, host)
        # As docker does it: a token in the place of a password has no user.
        secret = found.identity_token or found.password
        await stream.send_message(field(1, found.user) + field(2, secret))

    return call


def _secret(secrets: Secrets) -> Call:
    async def call(stream: Asked) -> None:
        identifier = (await _request(stream)).text(1)
        value = secrets.find(identifier)
        if value is None:
            raise GRPCError(Status.NOT_FOUND, f"secret {identifier}: not found")
        await stream.send_message(field(1, value))

    return call


def _check_agent(secrets: Secrets) -> Call:
    async def call(stream: Asked) -> None:
        await _agent(secrets, (await _request(stream)).text(1))
        await stream.send_message(b"")

    return call


def _forward_agent(secrets: Secrets) -> Call:
    async def call(stream: Asked) -> None:
        path = await _agent(secrets, _metadata(stream, _AGENT))
        with short_name(Path(path)) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        answering = asyncio.create_task(_pass_on(reader, stream))
        try:
            async for message in stream:
                writer.write(Message(message).bytes(1))
                await writer.drain()
        finally:
            answering.cancel()
            writer.close()

    return call


async def _agent(secrets: Secrets, identifier: str) -> str:
    """Return the socket of an agent; one for keys is started when it is first asked for."""
    identifier = identifier or "default"
    loop = asyncio.get_running_loop()
    path = await loop.run_in_executor(None, secrets.agents.get, identifier)
    if path is None:
        raise GRPCError(Status.NOT_FOUND, f"unset ssh forward key {identifier}")
    return path


async def _pass_on(reader: asyncio.StreamReader, stream: Asked) -> None:
    with suppress(asyncio.CancelledError):
        while data := await reader.read(_CHUNK):
            await stream.send_message(field(1, data))


def _output(outputs: Mapping[int, Taker]) -> Call:
    async def call(stream: Asked) -> None:
        number = _metadata(stream, _EXPORTER) or "0"
        take = outputs.get(int(number) if number.isdecimal() else -1)
        if take is None:
            raise GRPCError(Status.NOT_FOUND, f"exporter {number} not found")
        loop = asyncio.get_running_loop()
        async for message in stream:
            await loop.run_in_executor(None, take, Message(message).bytes(1))

    return call
