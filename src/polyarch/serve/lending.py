"""What a client lends to a build: its secrets, its ssh agents, and who it is at registries.

Each is asked for when a step wants it; secrets and credentials stay in memory and end with the build.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from polyarch.errors import NotFound, RemoteError
from polyarch.registry.credentials import Choice, Credential, Credentials
from polyarch.serve.asking import Client
from polyarch.wire import Message, field
from polyarch.worker.agent import short_name
from polyarch.worker.secrets import SecretSource

__all__ = ["LentAgents", "LentCredentials", "LentSecrets"]

_GET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
_CHECK_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
_AGENT = "/moby.sshforward.v1.SSH/ForwardAgent"
_AGENT_ID = "buildkit.ssh.id"
_NO_AGENT = "unset ssh forward key"
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_CHUNK = 1 << 16


class LentSecrets(Mapping[str, SecretSource]):
    """The client's secrets by id; those that were found are kept. Asking raises RemoteError, Cancelled."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._found: dict[str, SecretSource] = {}
        self._lock = threading.Lock()

    def __getitem__(self, identifier: str) -> SecretSource:
        with self._lock:
            if identifier not in self._found:
                self._found[identifier] = self._ask(identifier)
            return self._found[identifier]

    def _ask(self, identifier: str) -> SecretSource:
        if not self._client.session.answers(_GET):
            raise KeyError(identifier)
        try:
            answer = self._client.ask(_GET, field(1, identifier))
        except NotFound as error:
            raise KeyError(identifier) from error
        return SecretSource(value=Message(answer).bytes(1))

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._found))

    def __len__(self) -> int:
        return len(self._found)


class LentAgents(Mapping[str, str]):
    """Sockets of the client's agents by id, each made when it is first asked for; `close` ends them.

    `directory` names a fresh directory for one. Asking raises RemoteError, Cancelled.
    """

    def __init__(self, client: Client, directory: Callable[[], Path]) -> None:
        self._client = client
        self._directory = directory
        self._sockets: dict[str, str] = {}
        self._servers: list[asyncio.Server] = []
        self._lock = threading.Lock()

    def __getitem__(self, identifier: str) -> str:
        with self._lock:
            if identifier not in self._sockets:
                self._sockets[identifier] = self._open(identifier)
            return self._sockets[identifier]

    def _open(self, identifier: str) -> str:
        if not self._client.session.answers(_CHECK_AGENT):
            raise KeyError(identifier)
        try:
            self._client.ask(_CHECK_AGENT, field(1, identifier))
        except (NotFound, RemoteError) as error:
            # buildx has no code of its own for it.
            if isinstance(error, RemoteError) and _NO_AGENT not in str(error):
                raise
            raise KeyError(identifier) from error
        directory = self._directory()
        directory.mkdir(mode=0o700)
        path = str(directory / "agent")
        self._servers.append(self._client.wait(self._listen(identifier, path)))
        return path

    async def _listen(self, identifier: str, path: str) -> asyncio.Server:
        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(Exception):  # who asked sees that the agent hung up
                await self._forward(identifier, reader, writer)
            writer.close()

        with short_name(Path(path)) as name:
            return await asyncio.start_unix_server(forward, name)

    async def _forward(
        self, identifier: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        metadata = [(_AGENT_ID, identifier)]
        async with self._client.session.stream(_AGENT, metadata) as stream:
            await stream.send_request()
            answering = asyncio.create_task(_answer(stream, writer))
            try:
                while data := await reader.read(_CHUNK):
                    await stream.send_message(field(1, data))
                await stream.end()
                await answering
            finally:
                answering.cancel()

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._sockets))

    def __len__(self) -> int:
        return len(self._sockets)

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            self._client.loop.call_soon_threadsafe(server.close)


async def _answer(stream: Any, writer: asyncio.StreamWriter) -> None:
    async for message in stream:
        writer.write(Message(message).bytes(1))
        await writer.drain()
    writer.close()


class LentCredentials(Credentials):
    """Who the client is at registries, by its own files and helpers. Asking raises RemoteError, Cancelled."""

    def __init__(self, client: Client) -> None:
        super().__init__({})
        self._client = client

    def choose(self, host: str, scopes: Iterable[str]) -> Choice:
        """Return the only choice: clients are asked by hosts."""
        del host, scopes
        return Choice()

    def _look_up(self, host: str, choice: Choice) -> Credential:
        del choice
        if not self._client.session.answers(_CREDENTIALS):
            return Credential()
        try:
            answer = Message(self._client.ask(_CREDENTIALS, field(1, host)))
        except NotFound:
            return Credential()
        user, secret = answer.text(1), answer.text(2)
        source = "the client of this build"
        if not user:
            # As docker tells of a token.
            return Credential(identity_token=secret, source=source) if secret else Credential()
        return Credential(user=user, password=secret, source=source)
