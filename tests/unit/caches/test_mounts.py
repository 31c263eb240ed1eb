"""Cache mounts that go along: which, how large, and what is left of one that can't be unpacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from polyarch.caches.mounts import KeptAt, MountLimits, SavedMounts
from polyarch.errors import InputError
from polyarch.progress import CancelToken, Event, StatusEvent, StepEvent, step
from polyarch.request.caches import read_mounts
from polyarch.request.values import CacheEntry
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from tests.support.fakes.places import MemoryPlace

SNAPSHOT = SnapshotID("cache-x")


def limits_of(text: str) -> MountLimits:
    entry = CacheEntry(type="steps", attributes={"cache-mounts": text})
    return MountLimits(limits=read_mounts(entry))


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("all", {"all": 2 << 30}),
        ("go;/root/.npm=1mb", {"go": 2 << 30, "root/.npm": 1 << 20}),
        ("go=1k,all=2k", {"go": 1 << 10, "all": 2 << 10}),
        ("", {}),
    ],
)
def test_which_go_along(text: str, limits: Mapping[str, int]) -> None:
    assert limits_of(text).limits == limits


def test_ids_are_paths_in_ops() -> None:
    limits = limits_of("go=1;/root/.npm=2;all=3")

    assert [limits.find(each) for each in ("/go", "//root/.npm", "/other")] == [1, 2, 3]
    assert limits_of("go").find("/other") is None
    with pytest.raises(InputError, match="cache-mounts=go=much"):
        limits_of("go=much")


class Site:
    def __init__(self, directory: Path) -> None:
        self.store = Store(directory / "store")
        self.snapshotter = NativeSnapshotter(self.store)
        self.place = MemoryPlace()
        self.events: list[Event] = []

    def fill(self, fill: Callable[[Path], object]) -> None:
        record = SnapshotRecord(id=SNAPSHOT, type=RecordType.CACHE_MOUNT)
        self.snapshotter.unpack(SNAPSHOT, fill, record)

    def save(self, limits: str) -> list[str]:
        """Save the mount; return the remarks."""
        saved = SavedMounts(
            store=self.store,
            snapshotter=self.snapshotter,
            place=self.place,
            limits=limits_of(limits),
            cancel=CancelToken(),
        )
        with step(self.events.append, "saving") as shown:
            saved.save({"/go": SNAPSHOT}, shown)
        return [each.id for each in self.events if isinstance(each, StatusEvent) and each.is_remark]

    def kept(self) -> KeptAt:
        places = [(self.place, limits_of("go"))]
        return KeptAt(places=places, sink=self.events.append, cancel=CancelToken())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_was_written_is_read_elsewhere(site: Site, tmp_path: Path) -> None:
    site.fill(lambda root: (root / "built").write_text("much"))
    assert site.save("go") == []
    target = tmp_path / "new"
    target.mkdir()

    assert site.kept().fill("/go", target)
    assert not site.kept().fill("/other", target)

    assert (target / "built").read_text() == "much"


def test_one_that_is_in_use_or_too_large_is_left_out(site: Site) -> None:
    site.fill(lambda root: (root / "built").write_text("much"))

    assert "more than the 1B" in site.save("go=1")[0]
    with site.store.locks.exclusive(f"mount-{SNAPSHOT}"):
        assert site.save("go")[1] == "cache mount go is in use, and was left out"
    assert site.save("npm") == site.save("npm")
    assert site.place.tags == {}


def test_one_that_breaks_off_begins_empty(site: Site, tmp_path: Path) -> None:
    site.fill(lambda root: (root / "built").write_text("much"))
    site.save("go")
    for digest in site.place.blobs:
        if not site.place.blobs[digest].startswith(b"{"):
            site.place.blobs[digest] = b"other"
    target = tmp_path / "new"
    target.mkdir()

    assert not site.kept().fill("/go", target)

    assert list(target.iterdir()) == []
    assert [each.error != "" for each in site.events if isinstance(each, StepEvent)][-1]
