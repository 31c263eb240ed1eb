from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.errors import StoreError
from polyarch.runtime.vm.apply import Writer
from polyarch.runtime.vm.changes import Change

MOMENT = 1_600_000_000_123_456_789
OWN = (os.getuid(), os.getgid())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    (directory / "old").mkdir(parents=True)
    (directory / "old/file").write_text("old")
    return directory


def change(path: str, mode: int, **more: int | bytes | bool) -> Change:
    found = Change(path=path.encode(), mode=mode, uid=OWN[0], gid=OWN[1], modified_ns=MOMENT)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def writer(root: Path) -> Writer:
    return Writer(os.fsencode(root))


def pieces(*content: bytes) -> Iterator[bytes]:
    return iter(content)


def test_a_file_takes_the_place_of_another(root: Path) -> None:
    new = change("old/file", stat.S_IFREG | 0o640, size=6)
    made = writer(root)

    made.make(new)
    made.write(new, pieces(b"new", b"er\n"))

    status = (root / "old/file").stat()
    assert (root / "old/file").read_text() == "newer\n"
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, MOMENT)


def test_a_file_that_is_cut_short_is_refused(root: Path) -> None:
    new = change("new", stat.S_IFREG | 0o640, size=6)

    with pytest.raises(StoreError, match="new came out of the virtual machine with 3 bytes of 6"):
        writer(root).write(new, pieces(b"new"))


def test_a_whiteout_removes_what_it_stands_for(root: Path) -> None:
    writer(root).make(change("old", stat.S_IFCHR))

    assert list(root.iterdir()) == []


def test_an_opaque_directory_begins_empty(root: Path) -> None:
    writer(root).make(change("old", stat.S_IFDIR | 0o755, opaque=True))

    assert list((root / "old").iterdir()) == []


def test_another_directory_keeps_what_is_in_it(root: Path) -> None:
    made = writer(root)
    directory = change("old", stat.S_IFDIR | 0o711)

    made.make(directory)
    made.finish([directory])

    status = (root / "old").stat()
    assert (root / "old/file").read_text() == "old"
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o711, MOMENT)


def test_a_directory_takes_the_place_of_a_link_that_leads_out(root: Path, tmp_path: Path) -> None:
    (root / "way").symlink_to(tmp_path)
    new = change("way/file", stat.S_IFREG | 0o644, size=0)
    made = writer(root)

    for each in (change("way", stat.S_IFDIR | 0o755), new):
        made.make(each)
    made.write(new, pieces())

    assert (root / "way/file").exists()
    assert not (tmp_path / "file").exists()


def test_links_and_pipes_and_second_names_are_made(root: Path) -> None:
    made = writer(root)

    made.make(change("link", stat.S_IFLNK | 0o777, target=b"/etc/shadow"))
    made.make(change("pipe", stat.S_IFIFO | 0o600))
    made.link(change("old/file", stat.S_IFREG), change("old/same", stat.S_IFREG))

    assert os.readlink(root / "link") == "/etc/shadow"
    assert os.lstat(root / "link").st_mtime_ns == MOMENT
    assert stat.S_ISFIFO(os.lstat(root / "pipe").st_mode)
    assert (root / "old/same").samefile(root / "old/file")
