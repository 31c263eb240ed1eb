"""`DiskUsage` and `Prune`: what the store holds, and less of it. Source: BuildKit's `control.proto`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from polyarch.engine.collect import prune
from polyarch.engine.engine import Engine
from polyarch.serve.calls import received
from polyarch.store.policy import Policy
from polyarch.store.recordfilter import Condition, parse_filter
from polyarch.store.store import Store
from polyarch.store.usage import Usage, usage
from polyarch.wire import Message, field, time_field

__all__ = ["UsageCalls"]

_NANO = 1_000_000_000


class UsageCalls:
    """Answers for one engine's store."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    async def disk_usage(self, data: bytes, _metadata: Any) -> bytes:
        """Answer with all records that a DiskUsageRequest wants."""
        message = Message(data)
        is_wanted = _any_of(message.texts(1))
        seconds = message.integer(2) / _NANO
        found = await asyncio.get_running_loop().run_in_executor(None, usage, self._store)
        now = time.time()
        return b"".join(
            field(1, _record(each))
            for each in found
            if is_wanted(each) and now - each.record.last_used >= seconds
        )

    async def prune(self, stream: Any) -> None:
        """Remove what a PruneRequest says, and tell of each record that went."""
        message = Message(await received(stream) or b"")
        filters = tuple(filter(None, message.texts(1)))
        policy = Policy(
            matches=_any_of(filters) if filters else None,
            all=bool(message.integer(2)),
            keep_seconds=message.integer(3) / _NANO,
            reserved=message.integer(4),
            max_used=message.integer(5),
            min_free=message.integer(6),
        )
        loop = asyncio.get_running_loop()
        removed: asyncio.Queue[Usage | None] = asyncio.Queue()

        def tell(entry: Usage | None) -> None:
            loop.call_soon_threadsafe(removed.put_nowait, entry)

        def work() -> None:
            try:
                # As the command does: a store of its own, which only looks on.
                with Store(self._store.root, works=False) as store:
                    prune(store, [policy], on_removed=tell, wait=True)
            finally:
                tell(None)

        working = loop.run_in_executor(None, work)
        while (entry := await removed.get()) is not None:
            await stream.send_message(_record(entry))
        await working


def _any_of(texts: Sequence[str]) -> Condition:
    """Return the question whether one of several filters is met; without any all are."""
    conditions = [parse_filter(each) for each in texts if each]
    return lambda entry: not conditions or any(each(entry) for each in conditions)


def _record(entry: Usage) -> bytes:
    record = entry.record
    return b"".join(
        (
            field(1, record.id),
            field(2, entry.mutable),
            field(3, entry.in_use),
            field(4, entry.size),
            time_field(6, record.created),
            time_field(7, record.last_used),
            field(8, record.uses),
            field(9, record.description),
            field(10, record.type.value),
            field(11, entry.shared),
            *(field(12, each) for each in record.parents),
        )
    )
