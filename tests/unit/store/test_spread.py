import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from polyarch.store.spread import TOP_OF_HIERARCHY, get_attributes, make_apart
from polyarch.store.store import Store


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def is_spread(directory: Path) -> bool:
    """Return whether the directories in `directory` are made away from one another."""
    with opened(directory) as descriptor:
        try:
            return bool(get_attributes(descriptor) & TOP_OF_HIERARCHY)
        except OSError:
            return False


def could_be_spread(directory: Path) -> bool:
    """Return whether the file system of `directory` knows the attribute, by setting it."""
    (directory / "tried").mkdir()
    set_attributes = 0x40006602 | struct.calcsize("l") << 16
    with opened(directory / "tried") as descriptor, suppress(OSError):
        attributes = get_attributes(descriptor) | TOP_OF_HIERARCHY
        fcntl.ioctl(descriptor, set_attributes, struct.pack("i", attributes))
    return is_spread(directory / "tried")


@pytest.mark.parametrize("place", ["", "/dev/shm"], ids=["here", "memory"])
def test_a_directory_is_made_apart_where_the_file_system_can_do_that(
    tmp_path: Path, place: str
) -> None:
    parent = Path(place or tmp_path) / f"parent-{os.getpid()}"
    parent.mkdir()
    try:
        one, other = make_apart(parent, "kind"), make_apart(parent, "kind")

        assert (one.name[:5], one != other, one.stat().st_mode & 0o777) == ("kind-", True, 0o700)
        assert is_spread(parent) == could_be_spread(parent)
    finally:
        for each in [*parent.iterdir(), parent]:
            each.rmdir()


def test_drafts_are_made_apart_from_the_scratch_of_earlier_builds(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        draft, other = store.temporary("draft", many=True), store.temporary("draft", many=True)

        assert draft.parent == other.parent
        assert draft.parent.parent == store.scratch
        assert store.temporary().parent == store.scratch
