from __future__ import annotations

from polyarch.cli.cache.rows import pretty, record, row, short_rows, summary, with_tabs
from polyarch.record import replace
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.usage import Usage

NOW = 1_700_000_000.0
STEP = Usage(
    record=SnapshotRecord(
        id="step-1",
        parents=("image-1",),
        size=4096,
        created=NOW - 90,
        last_used=NOW - 58,
        uses=2,
        description="[2/3] RUN make",
    ),
    shared=True,
)
CACHE = Usage(
    record=SnapshotRecord(
        id="cache-1", size=1000, created=NOW, last_used=NOW, type=RecordType.CACHE_MOUNT
    ),
    in_use=True,
    blob_size=500,
)


def test_fields() -> None:
    assert record(STEP, now=NOW, marked=False) == {
        "ID": "step-1",
        "Parents": ["image-1"],
        "CreatedAt": "2023-11-14 22:11:50 +0000 UTC",
        "Mutable": False,
        "Reclaimable": True,
        "Shared": True,
        "Size": "4.096kB",
        "Description": "[2/3] RUN make",
        "UsageCount": 2,
        "LastUsedAt": "58 seconds ago",
        "Type": "regular",
    }


def test_marks_stand_in_tables_only() -> None:
    shown = [record(entry, now=NOW, marked=True) for entry in (STEP, CACHE)]

    assert [(each["ID"], each["Size"]) for each in shown] == [
        ("step-1", "4.096kB*"),
        ("cache-1*", "1.5kB"),
    ]


def test_rows_of_prune() -> None:
    assert row(CACHE, now=NOW) == (
        "cache-1*                                \tfalse\t1.5kB     \tLess than a second ago"
    )


def test_pretty_is_that_of_buildx() -> None:
    assert pretty([STEP, CACHE], now=NOW) == (
        "ID:           step-1\n"
        "Parents:\n"
        " - image-1\n"
        "Created at:   2023-11-14 22:11:50 +0000 UTC\n"
        "Mutable:      false\n"
        "Reclaimable:  true\n"
        "Shared:       true\n"
        "Size:         4.096kB\n"
        "Description:  [2/3] RUN make\n"
        "Usage count:  2\n"
        "Last used:    58 seconds ago\n"
        "Type:         regular\n"
        "\n"
        "ID:           cache-1\n"
        "Created at:   2023-11-14 22:13:20 +0000 UTC\n"
        "Mutable:      true\n"
        "Reclaimable:  false\n"
        "Shared:       false\n"
        "Size:         1.5kB\n"
        "Usage count:  1\n"
        "Last used:    Less than a second ago\n"
        "Type:         exec.cachemount\n"
        "\n"
    )


def test_rows_of_a_table_fit_a_line() -> None:
    digits = "0123456789abcdef"
    long = replace(
        STEP.record,
        id=f"step-{digits * 2}",
        description="mount / from exec /bin/sh -c make all of it",
    )
    cache = replace(CACHE, record=replace(CACHE.record, id=f"cache-{digits * 2}"))
    rows = [record(entry, now=NOW, marked=True) for entry in (replace(STEP, record=long), cache)]

    first, second = short_rows(rows)

    assert (first["ID"], second["ID"]) == ("step-01234567", "cache-01234567*")
    assert (first["Reclaimable"], first["Description"]) == ("true", "make all of…")


def test_prune_has_tabs_between() -> None:
    assert with_tabs([STEP, CACHE], now=NOW) == (
        "ID:\tstep-1\n"
        "Parents:\n"
        " - image-1\n"
        "Created at:\t2023-11-14 22:11:50 +0000 UTC\n"
        "Mutable:\tfalse\n"
        "Reclaimable:\ttrue\n"
        "Shared:\t\ttrue\n"
        "Size:\t\t4.096kB\n"
        "Description:\t[2/3] RUN make\n"
        "Usage count:\t2\n"
        "Last used:\t58 seconds ago\n"
        "Type:\t\tregular\n"
        "\n"
        "ID:\t\tcache-1\n"
        "Created at:\t2023-11-14 22:13:20 +0000 UTC\n"
        "Mutable:\ttrue\n"
        "Reclaimable:\tfalse\n"
        "Shared:\t\tfalse\n"
        "Size:\t\t1.5kB\n"
        "Usage count:\t1\n"
        "Last used:\tLess than a second ago\n"
        "Type:\t\texec.cachemount\n"
        "\n"
    )


def test_summary() -> None:
    assert summary([CACHE]) == "Reclaimable:\t0B\nTotal:\t\t1.5kB\n"
    assert summary([STEP, CACHE]) == (
        "Shared:\t\t4.096kB\nPrivate:\t1.5kB\nReclaimable:\t4.096kB\nTotal:\t\t5.596kB\n"
    )
