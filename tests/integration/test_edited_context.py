"""A large context that was edited: only what changed is copied, and the image is that of a whole copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.images.layouts import read_archive, validate
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

FILES = 600
OLD = 1_600_000_000
SCRATCH = "FROM scratch\nCOPY . /src\n"
OVER_OTHERS = """\
FROM scratch AS one
COPY d0 /src/d0
FROM one
COPY . /src
"""
Edit = Callable[[Path], object]


def plant(root: Person) -> Path:
    """Make a context of many files."""
    for number in range(FILES):
        path = root.work / f"c/d{number // 50}/f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}")
        os.utime(path, (OLD, OLD))
    (root.work / "c/d1/link").symlink_to("f50")
    return root.work / "c"


def built(who: Person, dockerfile: str) -> tuple[bytes, ...]:
    """Build; return the layers' archives."""
    who.write("Dockerfile", dockerfile)
    archive = who.work / "image.tar"
    who.run("build", "-f", "Dockerfile", "-o", f"type=oci,dest={archive}", "c").check()
    (image,) = validate(read_archive(archive.read_bytes())).images
    return image.layers


def over_others(who: Person) -> list[str]:
    """Return the snapshots that go on another one."""
    return [path.parent.name for path in who.root.glob("snapshots/*/over")]


def change(root: Path) -> None:
    (root / "d0/f1").write_text("another")


def disguise(root: Path) -> None:
    (root / "d0/f1").write_text("2")
    os.utime(root / "d0/f1", (OLD, OLD))


def touch(root: Path) -> None:
    (root / "d0/f1").write_text("another")
    os.utime(root / "d0/f2", (OLD + 5, OLD + 5))


def add(root: Path) -> None:
    (root / "d0/new").write_text("new")
    (root / "new/er").mkdir(parents=True)
    (root / "new/er/file").write_text("new")


def remove(root: Path) -> None:
    (root / "d3/f151").unlink()
    shutil.rmtree(root / "d4")


def remove_unseen(root: Path) -> None:
    (root / ".dockerignore").write_text("d3/f151\n.dockerignore\n")


def set_mode(root: Path) -> None:
    (root / "d0/f1").chmod(0o4711)
    (root / "d2").chmod(0o700)


def turn_link(root: Path) -> None:
    (root / "d1/link").unlink()
    (root / "d1/link").symlink_to("f51")


def file_for_directory(root: Path) -> None:
    shutil.rmtree(root / "d5")
    (root / "d5").write_text("a file")


def directory_for_file(root: Path) -> None:
    (root / "d0/f1").unlink()
    (root / "d0/f1").mkdir()


def two_names(root: Path) -> None:
    os.link(root / "d0/f1", root / "d0/twin")


def all_of_it(root: Path) -> None:
    for path in root.glob("d*/f*"):
        path.write_text("rewritten")


SMALL = [change, disguise, touch, add, remove, remove_unseen, set_mode, turn_link]
WHOLE = [file_for_directory, directory_for_file, two_names, all_of_it]


@pytest.mark.parametrize("edit", [*SMALL, *WHOLE])
def test_the_image_is_that_of_a_whole_copy(root: Person, edit: Edit) -> None:
    context = plant(root)
    first = built(root, SCRATCH)
    edit(context)

    again = built(root, SCRATCH)

    other = replace(root, environ={**root.environ, "POLYARCH_ROOT": f"{root.home}/other"})
    assert again != first
    assert again == built(other, SCRATCH)
    assert len(over_others(root)) == (edit in SMALL)


def test_what_is_excluded_stays_away(root: Person) -> None:
    context = plant(root)
    some = "FROM scratch\nCOPY --exclude=d*/f*7 --exclude=d1 . /src\n"
    built(root, some)
    change(context)
    (context / "d0/f17").write_text("another")

    again = built(root, some)

    other = replace(root, environ={**root.environ, "POLYARCH_ROOT": f"{root.home}/other"})
    assert again == built(other, some)


def test_what_a_layer_below_has_appears_again(root: Person) -> None:
    context = plant(root)
    (context / "d0/f1").write_text("above")
    built(root, OVER_OTHERS)
    (context / "d0/f1").unlink()

    last = built(root, OVER_OTHERS)[-1]

    other = replace(root, environ={**root.environ, "POLYARCH_ROOT": f"{root.home}/other"})
    assert last == built(other, OVER_OTHERS)[-1]


def test_edits_go_on_the_last_whole_copy(root: Person) -> None:
    context = plant(root)
    built(root, SCRATCH)
    for number in range(3):
        (context / f"d0/f{number}").write_text("another")
        built(root, SCRATCH)

    bases = {path.read_text() for path in root.root.glob("snapshots/*/over")}
    assert len(over_others(root)) == 3
    assert len(bases) == 1
    for snapshot in over_others(root):
        found = (root.root / "snapshots" / snapshot / "fs").rglob("f*")
        assert len([path for path in found if path.is_file()]) <= 3


def test_steps_see_one_name_of_each_file(root: Person, registry: RealRegistry) -> None:
    context = plant(root)
    steps = "RUN stat -c %h /src/d*/f* | sort -u >/links; cat /src/d0/f1 >/f1"
    text = f"FROM {registry.host}/library/busybox\nCOPY . /src\n{steps}\n"
    built(root, text)
    (context / "d0/f1").write_text("another")
    root.write("Dockerfile", text)
    root.run("build", "-f", "Dockerfile", "-o", "out", "c").check()

    assert over_others(root)
    assert (root.work / "out/links").read_text() == "1\n"
    assert (root.work / "out/f1").read_text() == "another"


def test_a_whole_copy_stays_as_long_as_something_goes_on_it(root: Person) -> None:
    context = plant(root)
    built(root, SCRATCH)
    change(context)
    again = built(root, SCRATCH)
    root.run("prune", "--force", "--filter", "until=1ns").check()

    assert built(root, SCRATCH) == again


def test_the_other_snapshotter_reads_it(root: Person) -> None:
    context = plant(root)
    built(root, SCRATCH)
    change(context)
    again = built(root, SCRATCH)
    shutil.rmtree(root.root / "blobs/sha256")
    (root.root / "blobs/sha256").mkdir()

    native = replace(root, environ={**root.environ, "POLYARCH_SNAPSHOTTER": "native"})
    assert built(native, SCRATCH) == again
