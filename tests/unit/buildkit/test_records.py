"""What daemons tell of builds and of their cache, read; and what they are asked to remove."""

from __future__ import annotations

import pytest

from polyarch.buildkit.messages import pairs
from polyarch.buildkit.provenance import read_build
from polyarch.buildkit.records import filter_text, read_usage
from polyarch.digest import sha256
from polyarch.history.record import State
from polyarch.store.snapshots import RecordType
from polyarch.wire import field, time_field

DIGEST = sha256(b"x")
DESCRIPTOR = field(1, "application/x") + field(2, DIGEST) + field(3, 9) + pairs(5, {"a": "b"})


def test_a_record_of_a_build() -> None:
    data = b"".join(
        (
            field(1, "abc"),
            pairs(3, {"target": "app"}),
            field(4, field(1, "image") + pairs(2, {"push": "true"})),
            field(5, field(1, 1) + field(2, "context canceled")),
            time_field(6, 10.5),
            time_field(7, 12.0),
            field(8, DESCRIPTOR),
            pairs(9, {"image.name": "app"}),
            field(
                11, field(1, "linux/arm64") + field(2, field(2, DESCRIPTOR) + field(1, DESCRIPTOR))
            ),
            *(field(number, value) for number, value in ((15, 1), (16, 4), (17, 3), (19, 2))),
        )
    )

    record = read_build(data)

    assert (record.ref, record.created, record.completed) == ("abc", 10.5, 12.0)
    assert record.status is State.CANCELED
    assert record.attributes == {"target": "app"}
    assert record.exporters[0].attributes == {"push": "true"}
    assert record.logs is not None
    assert (record.logs.digest, record.logs.size, record.logs.annotations) == (
        DIGEST,
        9,
        {"a": "b"},
    )
    part = record.results["linux/arm64"]
    assert [each.digest for each in (*part.attestations, *part.results)] == [DIGEST, DIGEST]
    assert (record.counts.total, record.counts.cached, record.counts.warnings) == (4, 1, 2)
    assert record.result is None


def test_a_record_of_a_cache() -> None:
    data = b"".join(
        (
            field(1, "id1"),
            field(2, True),
            field(3, True),
            field(4, 2048),
            field(5, "parent"),
            time_field(6, 3.0),
            field(9, "local source for context"),
            field(10, "source.local"),
            field(11, True),
        )
    )

    entry = read_usage(data)

    assert (entry.record.id, entry.size, entry.record.parents) == ("id1", 2048, ("parent",))
    assert (entry.mutable, entry.in_use, entry.shared) == (True, True, True)
    assert entry.record.type is RecordType.SOURCE_LOCAL
    assert (entry.record.created, entry.record.last_used) == (3.0, 3.0)
    assert read_usage(field(10, "of tomorrow")).record.type is RecordType.REGULAR


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("type=regular", "type==regular"),
        ("id=abc", "id~=abc"),
        ("inuse", "inuse"),
        ("id!=x", "id!=x"),
        ("description~=apt", "description~=apt"),
        ("type==regular", "type==regular"),
    ],
)
def test_filters_are_written_as_daemons_have_them(text: str, sent: str) -> None:
    assert filter_text(text) == sent
