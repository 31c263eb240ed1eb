"""`ListenBuildHistory` and `UpdateBuildHistory`: the records of builds, told and removed.

Source: BuildKit's `control.proto`, and `solver/llbsolver/history`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from polyarch.buildkit.messages import pairs
from polyarch.engine.engine import Engine
from polyarch.errors import NotFound
from polyarch.history.record import BuildRecord, ResultInfo
from polyarch.history.records import History
from polyarch.oci.descriptor import Descriptor
from polyarch.request.frontend import FRONTEND
from polyarch.serve.calls import received
from polyarch.wire import Message, field, time_field

__all__ = ["HistoryCalls"]

_STARTED, _COMPLETE, _DELETED = range(3)
_POLL_SECONDS = 0.5
_TIMESTAMP = "buildkit-current-timestamp"


class HistoryCalls:
    """Answers for one engine's store."""

    def __init__(self, engine: Engine) -> None:
        self.history = History(engine.store.root / "history")

    async def listen(self, stream: Any) -> None:
        """Tell of the records that a BuildHistoryRequest wants, and go on telling unless it ends early."""
        message = Message(await received(stream) or b"")
        ref, is_early = message.text(2), bool(message.integer(3))
        is_active_only, limit = bool(message.integer(1)), message.integer(5)
        await stream.send_initial_metadata(metadata={_TIMESTAMP: _now()})
        told: dict[str, int] = {}
        while True:
            found = [each for each in self.history.all() if not ref or each.ref == ref]
            for kind, record in _news(found, told, is_active_only=is_active_only, limit=limit):
                await stream.send_message(field(1, kind) + field(2, _record(record)))
            if is_early:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def update(self, data: bytes, _metadata: Any) -> bytes:
        """Remove a record; pins and what is to be finalized need nothing here. Raises GRPCError."""
        message = Message(data)
        ref = message.text(1)
        try:
            record = self.history.get(ref)
        except NotFound as error:
            raise GRPCError(Status.NOT_FOUND, f"failed to retrieve bucket for {ref}") from error
        if message.integer(3):
            self.history.remove(record)
        elif message.integer(2):
            raise GRPCError(Status.UNIMPLEMENTED, "records can't be pinned yet")
        return b""


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _news(
    found: Sequence[BuildRecord], told: dict[str, int], *, is_active_only: bool, limit: int
) -> Iterator[tuple[int, BuildRecord]]:
    """Yield the events that weren't sent yet, and add them to `told`, by refs."""
    completed = 0
    for record in found:
        kind = _STARTED if record.completed is None else _COMPLETE
        completed += kind == _COMPLETE
        is_beyond = kind == _COMPLETE and limit and completed > limit
        is_wanted = not (is_active_only and kind == _COMPLETE and record.ref not in told)
        if told.get(record.ref) != kind and is_wanted and not is_beyond:
            yield kind, record
        told[record.ref] = kind
    there = {record.ref for record in found}
    for ref in [each for each in told if each not in there]:
        del told[ref]
        yield _DELETED, BuildRecord(ref=ref)


def _record(record: BuildRecord) -> bytes:
    counts, error = record.counts, record.error
    exporters = (field(1, each.type) + pairs(2, each.attributes) for each in record.exporters)
    results = (
        field(11, field(1, name) + field(2, _result(each))) for name, each in record.results.items()
    )
    parts = [
        field(1, record.ref),
        field(2, FRONTEND),
        pairs(3, record.attributes),
        *(field(4, each) for each in exporters),
        b"" if error is None else field(5, field(1, error.code) + field(2, error.message)),
        time_field(6, record.created) if record.created else b"",
        time_field(7, record.completed),
        field(8, _descriptor(record.logs)),
        pairs(9, record.response),
        b"" if record.result is None else field(10, _result(record.result)),
        *results,
        field(13, _descriptor(record.trace)),
        field(15, counts.cached),
        field(16, counts.total),
        field(17, counts.completed),
        field(19, counts.warnings),
    ]
    return b"".join(parts)


def _result(result: ResultInfo) -> bytes:
    attestations = (field(2, _descriptor(each)) for each in result.attestations)
    results = (
        field(3, field(1, number) + field(2, _descriptor(each)))
        for number, each in enumerate(result.results)
    )
    first = (field(1, _descriptor(each)) for each in result.results[:1])
    return b"".join((*first, *attestations, *results))


def _descriptor(descriptor: Descriptor | None) -> bytes:
    if descriptor is None:
        return b""
    return (
        field(1, descriptor.media_type)
        + field(2, descriptor.digest)
        + field(3, descriptor.size)
        + pairs(5, descriptor.annotations)
    )
