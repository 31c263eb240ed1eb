"""What a client lends: asked for when it is wanted, and no more than once."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from polyarch.errors import Cancelled, RemoteError
from polyarch.progress import CancelToken
from polyarch.registry.credentials import Credential
from polyarch.serve.asking import Client
from polyarch.serve.lending import LentAgents, LentCredentials, LentSecrets
from polyarch.wire import Message, field


class Session:
    """Has a secret `key`, an agent `default` that answers in capitals, and a user at `registry.test`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.is_gone = False
        self.services = {"GetSecret", "CheckAgent", "Credentials"}

    def answers(self, path: str) -> bool:
        return path.rpartition("/")[2] in self.services

    async def call(self, path: str, message: bytes) -> bytes:
        name, wanted = path.rpartition("/")[2], Message(message).text(1)
        self.asked.append((name, wanted))
        if self.is_gone:
            raise StreamTerminatedError("Connection lost")
        if name == "GetSecret" and wanted != "key":
            raise GRPCError(Status.NOT_FOUND, f"secret {wanted}: not found")
        if name == "CheckAgent" and wanted != "default":
            raise GRPCError(Status.UNKNOWN, f"unset ssh forward key {wanted}")
        user = {"registry.test": "me", "token.test": ""}.get(wanted, "")
        secret = "" if wanted == "nobody.test" else "value"
        return field(1, user) + field(2, secret) if name == "Credentials" else field(1, "value")

    @asynccontextmanager
    async def stream(self, _path: str, metadata: list[tuple[str, str]]) -> AsyncIterator[Any]:
        assert metadata == [("buildkit.ssh.id", "default")]
        yield _Echo()


class _Echo:
    def __init__(self) -> None:
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send_request(self) -> None:
        pass

    async def send_message(self, message: bytes) -> None:
        self._answers.put_nowait(field(1, Message(message).bytes(1).upper()))

    async def end(self) -> None:
        self._answers.put_nowait(None)

    def __aiter__(self) -> _Echo:
        return self

    async def __anext__(self) -> bytes:
        message = await self._answers.get()
        if message is None:
            raise StopAsyncIteration
        return message


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def client(session: Session) -> Iterator[Client]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asked: Any = session
    yield Client(session=asked, loop=loop, cancel=CancelToken())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_secrets(client: Client, session: Session) -> None:
    secrets = LentSecrets(client)

    assert len(secrets) == 0
    assert [secrets["key"].value for _ in range(2)] == [b"value"] * 2
    assert secrets.get("other") is None
    assert list(secrets) == ["key"]
    assert session.asked == [("GetSecret", "key"), ("GetSecret", "other")]


def test_credentials(client: Client) -> None:
    found = LentCredentials(client)

    assert found.find("registry.test") == Credential(user="me", password="value")
    assert found.find("token.test") == Credential(identity_token="value")
    assert found.find("nobody.test") == Credential()


def test_who_offers_nothing_is_not_asked(client: Client, session: Session, tmp_path: Path) -> None:
    session.services.clear()

    assert LentSecrets(client).get("key") is None
    assert LentAgents(client, lambda: tmp_path / "a").get("default") is None
    assert LentCredentials(client).find("registry.test") == Credential()
    assert session.asked == []


def test_an_agent_answers_at_a_socket(client: Client, tmp_path: Path) -> None:
    agents = LentAgents(client, lambda: tmp_path / "agent")

    path = agents["default"]
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(path)
        asking.sendall(b"hello")
        answer = asking.recv(100)
        asking.shutdown(socket.SHUT_WR)
        end = asking.recv(100)
    agents.close()

    assert (answer, end) == (b"HELLO", b"")
    assert (list(agents), agents.get("other"), len(agents)) == (["default"], None, 1)


def test_a_client_that_has_gone(client: Client, session: Session) -> None:
    session.is_gone = True
    with pytest.raises(RemoteError, match="can't be asked any more: Connection lost"):
        LentSecrets(client).get("key")

    client.cancel.cancel()
    with pytest.raises(Cancelled):
        LentSecrets(client).get("key")
