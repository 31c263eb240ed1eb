"""A store on a file system that is full, or can't be written."""

import contextlib
import errno
import io
import os
import random
from pathlib import Path

import pytest

from polyarch import syscalls
from polyarch.errors import StoreError
from polyarch.layer.apply import apply
from polyarch.layer.tar import Entry, TarWriter
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.store.trouble import FREE_SPACE, full_disk_trouble
from tests.support.images.soundness import faults, whole_platforms
from tests.support.machine.namespaces import in_mount_namespace
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = pytest.mark.root


def test_a_full_disk_is_reported_and_nothing_stays(tmp_path: Path) -> None:
    def work() -> None:
        syscalls.mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=1m")
        store = Store(tmp_path)
        with pytest.raises(StoreError, match="No space left") as caught:
            store.blobs.put(bytes(2 << 20))
        assert (
            caught.value.hint
            == "the disk is full: free some space, for instance with 'polyarch prune'"
        )
        # Leases name what was looked for, as long as it may be wanted.
        left = [path for path in store.scratch.iterdir() if not path.name.startswith("lease-")]
        assert (list(store.blobs), left) == ([], [])

        out = io.BytesIO()
        writer = TarWriter(out)
        writer.add(Entry(name="big", size=2 << 20), bytes(2 << 20))
        writer.end()
        snapshots = NativeSnapshotter(store)
        with pytest.raises(StoreError, match=r"can't unpack 'big' into .*: No space left"):
            snapshots.unpack(
                SnapshotID("x"), lambda directory: apply(io.BytesIO(out.getvalue()), directory)
            )
        own = ("layers-", "lease-")
        left = [path for path in store.scratch.rglob("*") if not path.name.startswith(own)]
        assert (snapshots.exists(SnapshotID("x")), left) == (False, [])
        assert store.blobs.put(b"small")

    in_mount_namespace(work)


def test_a_database_on_a_full_disk(tmp_path: Path) -> None:
    def work() -> None:
        syscalls.mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=256k")
        store = Store(tmp_path)
        with pytest.raises(StoreError, match=r"can't use .*state\.db") as caught:
            store.refs.set("name", "x" * 1_000_000)
        assert "the disk is full" in caught.value.hint

    in_mount_namespace(work)


def test_a_read_only_store(tmp_path: Path) -> None:
    def work() -> None:
        Store(tmp_path).close()
        syscalls.mount(str(tmp_path), str(tmp_path), "", syscalls.MS_BIND)
        flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
        syscalls.mount("none", str(tmp_path), "", flags)
        with pytest.raises(StoreError, match="Read-only file system") as caught:
            Store(tmp_path).blobs.put(b"x")
        assert "set POLYARCH_ROOT" in caught.value.hint

    in_mount_namespace(work)


BASE_ONLY = "FROM {base}\nRUN true\n"
STEP = "FROM {base}\nRUN head -c 20000000 /dev/zero >/big\n"
COPY = "FROM {base}\nCOPY big /big\n"
LAYER = "FROM {base}\nCOPY big /big\n"


@pytest.mark.parametrize(
    ("dockerfile", "megabytes"),
    [(BASE_ONLY, 2), (STEP, 16), (COPY, 16), (LAYER, 32)],
    ids=["base", "step", "copy", "layer"],
)
def test_a_build_on_a_disk_that_fills_up(
    who: Person, registry: RealRegistry, dockerfile: str, megabytes: int
) -> None:
    who.write("Dockerfile", dockerfile.format(base=f"{registry.host}/library/busybox"))
    (who.work / "big").write_bytes(random.Random(1).randbytes(20_000_000))
    who.root.mkdir()
    name = f"{registry.host}/{who.user.name}/full"
    platforms = "--platform=linux/amd64,linux/arm64"
    words = ("build", "--progress=plain", platforms, "-t", name, "--push", ".")

    def work() -> None:
        owner = f"uid={who.user.uid},gid={who.user.gid},mode=755"
        syscalls.mount("tmpfs", str(who.root), "tmpfs", 0, f"size={megabytes}m,{owner}")
        failed = who.run(*words)
        assert failed.status == 1
        *_, hint, error = failed.err.splitlines()
        assert error.startswith("ERROR: failed to build: ")
        assert str(who.root) in error + hint, failed.err
        assert hint.startswith("hint: the disk "), failed.err
        assert hint.endswith("is full: free some space, for instance with 'polyarch prune'")
        problems, debris = faults(who)
        # A snapshot may have found room where its record didn't: the next build takes it up.
        assert [each for each in problems if not each.endswith("the next prune removes it")] == []
        assert debris == []

        syscalls.mount("tmpfs", str(who.root), "tmpfs", syscalls.MS_REMOUNT, f"size=200m,{owner}")
        who.run(*words).check()
        assert faults(who) == [[], []]

    in_mount_namespace(work)

    assert whole_platforms(registry, name) == ["amd64", "arm64"]


@pytest.mark.parametrize("of", ["bytes", "files"])
def test_a_full_disk_can_be_pruned(root: Person, registry: RealRegistry, of: str) -> None:
    """What says so tells people to prune, which takes a lock, a directory and a transaction."""
    root.write("Dockerfile", STEP.format(base=f"{registry.host}/library/busybox"))
    root.root.mkdir()

    def work() -> None:
        owner = f"uid={root.user.uid},gid={root.user.gid},mode=700"
        syscalls.mount("tmpfs", str(root.root), "tmpfs", 0, f"size=200m,nr_inodes=20k,{owner}")
        root.run("build", "-t", "app", ".").check()
        rest = root.root / "rest"
        if of == "bytes":
            fill(rest)
        else:
            rest.mkdir()
            with contextlib.suppress(OSError):
                for number in range(1 << 20):
                    (rest / str(number)).touch()
        failed = root.run("build", "--no-cache", ".")
        assert failed.err.splitlines()[-2].endswith("for instance with 'polyarch prune'")
        before = os.statvfs(root.root).f_bavail
        root.run("rmi", "app").check()
        root.run("prune", "--all", "--force").check()
        assert os.statvfs(root.root).f_bavail > before + (20_000_000 >> 12)

    in_mount_namespace(work)


def test_records_on_a_full_disk(tmp_path: Path) -> None:
    """SQLite has other words for it where only the files beside the database find no room."""

    def work() -> None:
        syscalls.mount("tmpfs", str(tmp_path), "tmpfs", 0, "size=1m")
        directory = tmp_path / "store"
        with Store(directory) as store:
            fill(tmp_path / "rest")
            with pytest.raises(StoreError) as caught:
                write_records(store)
        assert str(directory / "state.db") in str(caught.value)
        assert caught.value.hint == f"the disk is full: {FREE_SPACE}"

    in_mount_namespace(work)


def write_records(store: Store) -> None:
    for number in range(10_000):
        store.snapshots.add(SnapshotRecord(id=f"{number}" * 50))


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))


def find_no_room() -> None:
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise StoreError("a mount point can't be made") from error


def test_an_error_that_a_full_disk_has_caused_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught, full_disk_trouble(tmp_path):
        find_no_room()

    assert caught.value.hint == f"the disk is full: {FREE_SPACE}"
