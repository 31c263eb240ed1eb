"""The messages of BuildKit's API, as far as we send and read them: values to bytes and back.

Source: BuildKit's `control.proto`, `worker.proto`, `ops.proto`, and those of its sessions; fsutil's `wire.proto`
and `stat.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.platforms import Platform, from_words, normalize
from polyarch.record import field as record_field
from polyarch.record import frozen
from polyarch.request.frontend import FRONTEND
from polyarch.wire import Message, field

__all__ = [
    "Packet",
    "PacketKind",
    "SolveOptions",
    "Stat",
    "WorkerInfo",
    "packet_bytes",
    "pairs",
    "read_packet",
    "read_pairs",
    "read_stat",
    "read_workers",
    "solve_request",
]


def pairs(number: int, values: Mapping[str, str]) -> bytes:
    """Return a map of texts: a field with a message for each pair."""
    return b"".join(
        field(number, field(1, name) + field(2, value)) for name, value in sorted(values.items())
    )


def read_pairs(message: Message, number: int) -> dict[str, str]:
    """Return a map of texts."""
    return {each.text(1): each.text(2) for each in message.messages(number)}


# --- solving ---


@frozen
class SolveOptions:
    """What a daemon is asked to build; `exporters` and caches are types with attributes.

    An `internal` build leaves no record. One that `has_policy` asks the session of each source; steps of one with
    `proxy_network` reach nothing but a proxy.
    """

    ref: str
    session: str
    attributes: Mapping[str, str]
    frontend: str = FRONTEND
    exporters: tuple[tuple[str, Mapping[str, str]], ...] = ()
    cache_to: tuple[tuple[str, Mapping[str, str]], ...] = ()
    cache_from: tuple[tuple[str, Mapping[str, str]], ...] = ()
    entitlements: tuple[str, ...] = ()
    internal: bool = False
    has_policy: bool = False
    proxy_network: bool = False


def solve_request(options: SolveOptions) -> bytes:
    """Return a SolveRequest. Its first exporter is told in the form of old daemons, too."""
    first = options.exporters[:1]
    caches = b"".join(
        field(number, _typed(each))
        for number, entries in ((4, options.cache_to), (5, options.cache_from))
        for each in entries
    )
    return b"".join(
        (
            field(1, options.ref),
            *(field(3, kind) + pairs(4, attributes) for kind, attributes in first),
            field(5, options.session),
            field(6, options.frontend),
            pairs(7, options.attributes),
            field(8, caches),
            *(field(9, each) for each in options.entitlements),
            field(11, options.internal),
            *(field(13, _typed(each)) for each in options.exporters),
            field(15, options.session if options.has_policy else ""),
            field(17, options.proxy_network),
        )
    )


def _typed(entry: tuple[str, Mapping[str, str]]) -> bytes:
    return field(1, entry[0]) + pairs(2, entry[1])


# --- workers ---


@frozen
class WorkerInfo:
    """A worker of a daemon: its labels, platforms, and BuildKit's version ("" before 0.11)."""

    id: str
    labels: Mapping[str, str] = record_field(default_factory=dict)
    platforms: tuple[Platform, ...] = ()
    version: str = ""


def read_workers(data: bytes) -> tuple[WorkerInfo, ...]:
    """Read a ListWorkersResponse. Raises IntegrityError."""
    return tuple(map(_worker, Message(data).messages(1)))


def _worker(message: Message) -> WorkerInfo:
    versions = [each.text(2) for each in message.messages(5)]
    return WorkerInfo(
        id=message.text(1),
        labels=read_pairs(message, 2),
        platforms=tuple(map(_platform, message.messages(3))),
        version=versions[0] if versions else "",
    )


def _platform(message: Message) -> Platform:
    return normalize(from_words(message.text(2), message.text(1), message.text(3)))


# --- files ---


class PacketKind:
    """What a packet of a file transfer is."""

    STAT, REQUEST, DATA, FINISHED, ERROR = range(5)


@frozen
class Stat:
    """A file that is told of: `path` is relative, `mode` is Go's, `mtime` in nanoseconds."""

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = record_field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the message."""
        return b"".join(
            (
                field(1, self.path),
                field(2, self.mode),
                field(3, self.uid),
                field(4, self.gid),
                field(5, self.size),
                field(6, self.mtime),
                field(7, self.link),
                field(8, self.device[0]),
                field(9, self.device[1]),
                *(
                    field(10, field(1, name) + field(2, value))
                    for name, value in _sorted(self.xattrs)
                ),
            )
        )


def _sorted(values: Mapping[str, bytes]) -> Iterable[tuple[str, bytes]]:
    return sorted(values.items())


@frozen
class Packet:
    """A part of a file transfer; a STAT without a stat says that there are no more."""

    kind: int
    id: int = 0
    data: bytes = b""
    stat: Stat | None = None


def packet_bytes(packet: Packet) -> bytes:
    """Return the message."""
    told = field(2, packet.stat.to_bytes()) if packet.stat is not None else b""
    return field(1, packet.kind) + told + field(3, packet.id) + field(4, packet.data)


def read_packet(data: bytes) -> Packet:
    """Read a packet. Raises IntegrityError."""
    message = Message(data)
    told = [read_stat(each) for each in message.messages(2)]
    return Packet(
        kind=message.integer(1),
        id=message.integer(3),
        data=message.bytes(4),
        stat=told[-1] if told else None,
    )


def read_stat(message: Message) -> Stat:
    """Read what is told of a file."""
    return Stat(
        path=message.text(1),
        mode=message.integer(2),
        uid=message.integer(3),
        gid=message.integer(4),
        size=message.integer(5),
        mtime=message.integer(6),
        link=message.text(7),
        device=(message.integer(8), message.integer(9)),
        xattrs={each.text(1): each.bytes(2) for each in message.messages(10)},
    )
