"""What daemons are asked, and those that don't answer."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from polyarch.buildkit.api import Api
from polyarch.buildkit.nodes import ask, look_at, wait_for
from polyarch.errors import Cancelled, RemoteError
from polyarch.progress import CancelToken, Event, StepEvent, cancellable, ignore_events
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


def test_a_daemon_that_is_started_meanwhile_is_waited_for(tmp_path: Path) -> None:
    events: list[str] = []
    remote = remote_at(f"unix://{tmp_path}/buildkitd.sock")
    with ExitStack() as stack:

        def start(event: Event) -> None:
            assert isinstance(event, StepEvent)
            events.append(event.name)
            if not event.completed:
                engine = stack.enter_context(fake_engine(tmp_path))
                stack.enter_context(serving_buildkit(engine, tmp_path))

        before = look_at(remote)
        wait_for(remote, start)
        after = look_at(remote)

    assert (before.is_absent, after.is_absent, after.error) == (True, False, "")
    assert events == ["[internal] waiting for connection"] * 2


def test_what_never_comes_is_waited_for_no_longer_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyarch.buildkit.nodes._SECONDS", 0.0)
    address = f"unix://{tmp_path}/none.sock"

    with pytest.raises(RemoteError) as raised:
        wait_for(remote_at(address), ignore_events)

    assert str(raised.value) == (
        f"the builder at {address} can't be reached: [Errno 2] No such file or directory, "
        "and has been waited for 0 seconds"
    )


def test_waiting_can_be_cancelled(tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    with cancellable(token), pytest.raises(Cancelled):
        wait_for(remote_at(f"unix://{tmp_path}/none.sock"), ignore_events)


@pytest.mark.parametrize("name", ["silent", "file/none.sock"])
def test_what_is_there_and_answers_wrongly_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        state = look_at(remote_at(f"unix://{tmp_path}/{name}"), 0.01)

    assert state.error
    assert not state.is_absent
