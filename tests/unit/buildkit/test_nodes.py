"""What daemons are asked, and those that don't answer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from polyarch.buildkit.api import Api
from polyarch.buildkit.nodes import ask
from polyarch.errors import RemoteError
from tests.support.fakes.engine import fake_engine
from tests.support.network.buildkitserver import remote_at, serving_buildkit


def test_a_daemon_that_takes_connections_and_says_nothing(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        with pytest.raises(RemoteError) as raised:
            ask(remote_at(address), lambda api: api.version(), 0.01)

    assert str(raised.value) == f"{address} didn't answer within 0.01 seconds"
    assert raised.value.temporary


def test_a_connection_that_the_kernel_gave_up(tmp_path: Path) -> None:
    async def lost(api: Api) -> str:
        await api.version()
        raise TimeoutError(110, "Connection timed out")

    with (
        fake_engine(tmp_path) as engine,
        serving_buildkit(engine, tmp_path) as remote,
        pytest.raises(RemoteError) as raised,
    ):
        ask(remote, lost, 60)

    assert "can't be reached: Connection timed out" in str(raised.value)


def test_without_a_limit_it_is_waited_for_the_answer(tmp_path: Path) -> None:
    async def late(api: Api) -> str:
        await asyncio.sleep(0)
        return await api.version()

    with fake_engine(tmp_path) as engine, serving_buildkit(engine, tmp_path) as remote:
        assert ask(remote, late)
