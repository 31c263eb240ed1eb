from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.store.gcsettings import Collecting, collecting_for, read_collecting
from polyarch.store.policy import Space, default_policies, default_space
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.usage import Usage

GB = 1_000_000_000
DISK = 500 * GB


def test_nothing_set_is_the_defaults() -> None:
    assert read_collecting("", DISK) == Collecting(policies=default_policies(default_space(DISK)))
    assert read_collecting("[worker.oci]\ngc = true\n", DISK) == read_collecting("", DISK)


@pytest.mark.parametrize(
    ("settings", "space"),
    [
        ("maxUsedSpace = 1000", Space(max_used=1000)),
        ('maxUsedSpace = "1GB"\nminFreeSpace = "20%"', Space(max_used=1 << 30, min_free=94 * GB)),
        ('reservedSpace = "10%"\ngckeepstorage = 7', Space(reserved=47 * GB)),
        ("gckeepstorage = 7\nmaxUsedSpace = 9", Space(max_used=9)),
        ("gckeepstorage = 7", Space(reserved=7)),
    ],
)
def test_bounds_of_the_default_policies(settings: str, space: Space) -> None:
    found = read_collecting(f"[worker.oci]\n{settings}\n", DISK)

    assert found.policies == default_policies(space)


def test_a_floor_alone_is_pointed_out() -> None:
    (remark,) = read_collecting("[worker.oci]\ngckeepstorage = 2048\n", DISK).remarks
    bounded = read_collecting("[worker.oci]\nreservedSpace = 1\nmaxUsedSpace = 9\n", DISK)

    assert remark.startswith("the reserved space of 2KiB is a floor: ")
    assert bounded.remarks == read_collecting("", DISK).remarks == ()


POLICIES = """\
[worker.containerd]
[[worker.containerd.gcpolicy]]
all = true
filters = ["type==exec.cachemount", "type==source.local"]
keepDuration = "48h"
keepBytes = 100
[[worker.containerd.gcpolicy]]
keepDuration = 60
filters = ["type==regular,description~=apt", "id==\\"a,b\\"", "mutable"]
reservedSpace = 5
keepBytes = 100
maxUsedSpace = "50%"
"""


def test_policies_of_ones_own() -> None:
    first, second = read_collecting(POLICIES, DISK).policies

    assert first.types == {RecordType.CACHE_MOUNT, RecordType.SOURCE_LOCAL}
    assert (first.keep_seconds, first.reserved, first.all) == (172_800, 100, True)
    assert (second.keep_seconds, second.reserved, second.max_used) == (60, 5, 233 * GB)
    records = [
        SnapshotRecord(id="x", description="RUN apt-get"),
        SnapshotRecord(id="x", description="RUN make"),
        SnapshotRecord(id="a,b"),
        SnapshotRecord(id="y", type=RecordType.CACHE_MOUNT),
    ]
    found = [second.concerns(Usage(record=record)) for record in records]
    assert found == [True, False, True, True]


@pytest.mark.parametrize("text", ["/RUN (apt|a,b)/", "|RUN a[^p]*p|", '"RUN (apt|dnf)"', "RUN apt"])
def test_patterns_stand_between_what_containerd_takes(text: str) -> None:
    settings = f"[[worker.oci.gcpolicy]]\nfilters = ['description~={text},type==regular']"
    policy = read_collecting(settings, DISK).policies[0]
    records = [SnapshotRecord(id="x", description=each) for each in ("RUN apt-get", "RUN make")]

    assert [policy.concerns(Usage(record=record)) for record in records] == [True, False]


def test_none_are_wanted(tmp_path: Path) -> None:
    assert collecting_for(tmp_path / "to/come", "[worker.oci]\ngc = false\n") == Collecting()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[worker", "Expected"),
        ('[worker.oci]\nmaxUsedSpace = "much"', 'maxUsedSpace: invalid disk space "much"'),
        ("[worker.oci]\ngcpolicy = 3", "gcpolicy is a list of tables"),
        ('[[worker.oci.gcpolicy]]\nkeepDuration = "long"', 'keepDuration: invalid duration "long"'),
        ('[[worker.oci.gcpolicy]]\nfilters = "id==x"', "the filters of a gcpolicy are a list"),
        ('[[worker.oci.gcpolicy]]\nfilters = ["colour==red"]', 'unknown filter "colour"'),
        ('[[worker.oci.gcpolicy]]\nfilters = ["id=x"]', '"id=x" isn\'t a filter of records'),
    ],
)
def test_what_cannot_be_meant(settings: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_collecting(settings, DISK)
