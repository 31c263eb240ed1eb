import asyncio

import pytest

from polyarch.serve.ending import Ending


async def forever() -> None:
    await asyncio.Event().wait()


async def nothing() -> None:
    pass


def test_a_signal_that_comes_twice_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[bool]:
        now = 10.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
        ending, found = Ending(), []
        for seconds in (0.0, 0.2, 1.0):
            now = 10.0 + seconds
            ending.ask()
            found.append(ending.is_at_once)
        return found

    assert asyncio.run(run()) == [False, False, True]


def test_what_is_done_before_the_end_ends_when_that_is_to_be_at_once() -> None:
    async def run() -> bool:
        ending = Ending()
        ending.ask()
        await ending.wait()
        await ending.unless_at_once(nothing())
        asyncio.get_running_loop().call_soon(ending.insist)
        await ending.unless_at_once(forever())
        return ending.is_at_once

    assert asyncio.run(run())


def test_an_error_before_the_end_is_not_lost() -> None:
    async def fail() -> None:
        raise ValueError("lost")

    async def run() -> None:
        ending = Ending()
        ending.ask()
        await ending.unless_at_once(fail())

    with pytest.raises(ValueError, match="lost"):
        asyncio.run(run())
