"""How a server is told to end: SIGTERM lets builds that are under way end first, anything else doesn't.

So does BuildKit's daemon, and a pod that is replaced has half a minute for it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress

__all__ = ["Ending"]

_SAME = 0.5
"""Seconds within which two signals are the same one: a supervisor may send it to all processes, of which one passes it on."""


class Ending:
    """Whether the server is to end, when those who have begun have ended, or at once. In the loop only."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._insisted = asyncio.Event()
        self._at = 0.0

    def heed_signals(self) -> None:
        """Heed the signals of this process."""
        self._loop.add_signal_handler(signal.SIGTERM, self.ask)
        for number in (signal.SIGINT, signal.SIGHUP):
            self._loop.add_signal_handler(number, self.insist)

    def ask(self) -> None:
        """Let those who have begun end; at once, if that was asked for before."""
        if not self._asked.is_set():
            self._at = self._loop.time()
            self._asked.set()
        elif self._loop.time() - self._at > _SAME:
            self.insist()

    def insist(self) -> None:
        """End at once."""
        self._insisted.set()
        self._asked.set()

    @property
    def is_at_once(self) -> bool:
        """Whether nobody is waited for."""
        return self._insisted.is_set()

    async def wait(self) -> None:
        """Wait until the server is to end."""
        await self._asked.wait()

    async def unless_at_once(self, work: Coroutine[None, None, None]) -> None:
        """Do what is done before the end, until that is to be at once."""
        doing = asyncio.create_task(work)
        insisted = asyncio.create_task(self._insisted.wait())
        await asyncio.wait((doing, insisted), return_when=asyncio.FIRST_COMPLETED)
        for task in (doing, insisted):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
