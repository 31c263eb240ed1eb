"""The messages of BuildKit's API."""

from __future__ import annotations

from polyarch.buildkit.messages import (
    Packet,
    PacketKind,
    SolveOptions,
    Stat,
    packet_bytes,
    pairs,
    read_packet,
    read_pairs,
    read_workers,
    solve_request,
)
from polyarch.platforms import linux
from polyarch.wire import Message, field


def test_a_request_has_what_it_asks_for() -> None:
    request = Message(
        solve_request(
            SolveOptions(
                ref="r",
                session="s",
                attributes={"target": "t", "no-cache": ""},
                exporters=(("image", {"push": "true"}), ("oci", {})),
                cache_to=(("inline", {}),),
                cache_from=(("registry", {"ref": "x"}),),
                entitlements=("network.host",),
            )
        )
    )

    assert (request.text(1), request.text(5), request.text(6)) == ("r", "s", "dockerfile.v0")
    assert read_pairs(request, 7) == {"target": "t", "no-cache": ""}
    # Old daemons know one exporter, in another form.
    assert (request.text(3), read_pairs(request, 4)) == ("image", {"push": "true"})
    assert [each.text(1) for each in request.messages(13)] == ["image", "oci"]
    (caches,) = request.messages(8)
    assert [(each.text(1), read_pairs(each, 2)) for each in caches.messages(5)] == [
        ("registry", {"ref": "x"})
    ]
    assert request.texts(9) == ("network.host",)


def test_workers_with_their_platforms() -> None:
    platform = field(1, "arm64") + field(2, "linux")
    version = field(2, "v0.12.0")
    worker = field(1, "id") + pairs(2, {"a": "b"}) + field(3, platform) + field(5, version)

    (found,) = read_workers(field(1, worker))

    assert (found.id, found.labels, found.version) == ("id", {"a": "b"}, "v0.12.0")
    assert found.platforms == (linux("arm64"),)


def test_packets() -> None:
    told = Message(
        packet_bytes(Packet(kind=PacketKind.STAT, stat=Stat(path="a", mode=0o644, mtime=-1)))
    )
    asked = read_packet(packet_bytes(Packet(kind=PacketKind.REQUEST, id=7)))

    (stat,) = told.messages(2)
    assert (stat.text(1), stat.integer(2), stat.integer(6)) == ("a", 0o644, -1)
    assert packet_bytes(Packet(kind=PacketKind.STAT)) == b""
    assert asked == Packet(kind=PacketKind.REQUEST, id=7)
