"""What daemons keep: records of builds with their logs and documents, and their cache.

Source: BuildKit's `control.proto` (BuildHistoryRecord, UsageRecord), containerd's `content.proto`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch.buildkit.api import Api
from polyarch.buildkit.build import Remote
from polyarch.buildkit.nodes import ask
from polyarch.buildkit.provenance import blob_of, read_build
from polyarch.digest import Digest
from polyarch.errors import PolyarchError
from polyarch.history.record import BuildRecord
from polyarch.history.records import History
from polyarch.record import replace
from polyarch.store.policy import Policy
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.usage import Usage
from polyarch.wire import Message, field

__all__ = [
    "DaemonHistory",
    "disk_usage",
    "filter_text",
    "prune_daemon",
    "read_usage",
]

_NANO = 1_000_000_000


# --- builds ---


class DaemonHistory(History):
    """The records that a daemon keeps; their logs and documents are fetched when they are asked for."""

    def __init__(
        self, remote: Remote, place: str, noted: Callable[[str], Mapping[str, str]]
    ) -> None:
        """Ask for all records. `place` is builder/node; `noted` knows by builder/node/build what was built here.

        Raises RemoteError.
        """
        self._scratch = tempfile.TemporaryDirectory(prefix="polyarch-history-")
        super().__init__(Path(self._scratch.name))
        self._remote = remote
        found = ask(remote, lambda api: api.history())
        builder, _, node = place.partition("/")
        records = (replace(read_build(each), builder=builder, node=node) for each in found)
        self._records = {
            record.ref: replace(record, state=noted(record.full_ref)) for record in records
        }

    def logs(self, record: BuildRecord) -> Path:
        """See History. Raises RemoteError."""
        path = super().logs(record)
        if record.logs is not None and not path.exists():
            path.write_bytes(self._fetch(record.logs.digest))
        return path

    def blob(self, record: BuildRecord, digest: Digest) -> Path:
        """See History."""
        path = super().blob(record, digest)
        if not path.exists():
            with suppress(PolyarchError):  # who asks looks whether it's there
                data = self._fetch(digest)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
        return path

    def remove(self, record: BuildRecord) -> None:
        """See History."""
        ask(self._remote, lambda api: api.forget_build(record.ref))
        self._records.pop(record.ref, None)

    def _fetch(self, digest: Digest) -> bytes:
        return ask(self._remote, lambda api: blob_of(api, digest))

    def _refs(self) -> list[str]:
        return list(self._records)

    def _read(self, ref: str) -> BuildRecord | None:
        return self._records.get(ref)


# --- the cache ---


def disk_usage(remote: Remote) -> tuple[Usage, ...]:
    """Return the records of a daemon's cache. Raises RemoteError."""
    return tuple(map(read_usage, ask(remote, lambda api: api.disk_usage())))


def prune_daemon(
    remote: Remote, filters: Sequence[str], policy: Policy, on_removed: Callable[[Usage], None]
) -> None:
    """Have a daemon remove what a policy and all `filters` (`type=regular`) say; each record is told of. Raises RemoteError."""
    request = b"".join(
        (
            field(1, ",".join(map(filter_text, filters))),
            field(2, policy.all),
            field(3, int(policy.keep_seconds * _NANO)),
            field(4, policy.reserved),
            field(5, policy.max_used),
            field(6, policy.min_free),
        )
    )

    async def prune(api: Api) -> None:
        async for data in api.prune(request):
            on_removed(read_usage(data))

    ask(remote, prune)


def filter_text(text: str) -> str:
    """Write a filter as daemons have it: containerd's, whose equality has two signs; of an ID a part is enough."""
    name, _, value = text.partition("=")
    if name.endswith(("!", "~")) or value.startswith("="):
        return text
    return f"{name}{'~=' if name == 'id' else '=='}{value}" if value else name


def read_usage(data: bytes) -> Usage:
    """Read a UsageRecord. Raises IntegrityError."""
    message = Message(data)
    kind = message.text(10)
    record = SnapshotRecord(
        id=message.text(1),
        parents=message.texts(12) or message.texts(5),
        size=message.integer(4),
        created=message.time(6) or 0.0,
        last_used=message.time(7) or message.time(6) or 0.0,
        uses=message.integer(8),
        description=message.text(9),
        type=RecordType(kind) if kind in set(RecordType) else RecordType.REGULAR,
    )
    return Usage(
        record=record,
        in_use=bool(message.integer(3)),
        shared=bool(message.integer(11)),
        is_written=bool(message.integer(2)),
    )
