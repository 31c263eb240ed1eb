"""Layers that try to leave the root, as they come from a registry: refused, or kept inside of it."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.programs import Ended, Person
from tests.support.network.plants import Member, plant_image, tar_of
from tests.support.network.registry import Registry, serving

pytestmark = [pytest.mark.root, pytest.mark.runtime]

LINK: dict[str, object] = {"type": tarfile.SYMTYPE}


@pytest.fixture
def server() -> Iterator[Registry]:
    with serving() as found:
        yield found


def unpack(who: Person, server: Registry, *members: Member) -> Ended:
    """Build over an image of one such layer, and take the files out."""
    plant_image(server, "app", tar_of(members))
    who.write("Dockerfile", f"FROM {server.host}/app\nCOPY Dockerfile /\n")
    return who.run("build", "-o", "out", ".")


def outside(who: Person) -> set[str]:
    """Return what has come to lie where none of a layer's files belongs."""
    return {
        str(path)
        for directory in (who.home, who.work, who.root, Path("/tmp"), Path("/"))
        for path in directory.glob("polyarch-escape*")
    }


HOSTILE: dict[str, tuple[Member, ...]] = {
    "a parent": (("../polyarch-escape", {}, b"1"),),
    "a parent further up": (("a/../../../../../../tmp/polyarch-escape", {}, b"1"),),
    "an absolute path": (("/tmp/polyarch-escape", {}, b"1"),),
    "an absolute link": (
        ("door", {**LINK, "linkname": "/tmp"}, b""),
        ("door/polyarch-escape", {}, b"1"),
    ),
    "a link over many parents": (
        ("door", {**LINK, "linkname": "../../../../../../tmp"}, b""),
        ("door/polyarch-escape", {}, b"1"),
    ),
    "a hard link out": (
        ("polyarch-escape", {"type": tarfile.LNKTYPE, "linkname": "../../../etc/passwd"}, b""),
    ),
    "a hard link to nothing": (("x", {"type": tarfile.LNKTYPE, "linkname": "nope"}, b""),),
    "a whiteout of a parent": (("../.wh.store", {}, b""),),
    "a whiteout of dots": (("a/.wh...", {}, b""),),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_layer_is_refused(who: Person, server: Registry, case: str) -> None:
    ended = unpack(who, server, *HOSTILE[case])

    assert ended.status == 1
    name = re.escape(repr(HOSTILE[case][-1][0]))
    assert re.search(rf"ERROR: failed to build: failed to solve: .*{name}", ended.complaint())
    assert "\nhint: the archive is damaged or hostile; don't use it\n" in ended.complaint()
    assert outside(who) == set()
    assert not (who.work / "out").exists()


def test_a_path_that_only_seems_to_leave(who: Person, server: Registry) -> None:
    link: dict[str, object] = {**LINK, "linkname": "../../../../../../tmp"}
    ended = unpack(who, server, ("door", link, b""), ("door/../polyarch-escape", {}, b"1"))

    ended.check()
    assert outside(who) == set()
    assert (who.work / "out/polyarch-escape").read_text() == "1"


def test_a_device_in_a_layer(who: Person, server: Registry) -> None:
    device: dict[str, object] = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}
    ended = unpack(who, server, ("dev/zero", device, b""), ("after", {}, b"1"))

    ended.check()
    assert (who.work / "out/after").read_text() == "1"
    assert not (who.work / "out/dev/zero").exists()  # devices aren't put among people's files


def test_a_layer_that_is_cut_short(root: Person, server: Registry) -> None:
    whole = tar_of([("file", {}, bytes(100_000))])
    plant_image(server, "app", whole[:50_000])
    root.write("Dockerfile", f"FROM {server.host}/app\nCOPY Dockerfile /\n")
    ended = root.run("build", "-o", "out", ".")

    assert ended.status == 1
    assert "ERROR: failed to build: failed to solve: " in ended.complaint()
    assert not (root.work / "out").exists()


def test_a_layer_that_is_no_archive(root: Person, server: Registry) -> None:
    plant_image(server, "app", b"this is no archive" * 100)
    root.write("Dockerfile", f"FROM {server.host}/app\nCOPY Dockerfile /\n")
    ended = root.run("build", "-o", "out", ".")

    assert ended.status == 1
    assert "ERROR: failed to build: failed to solve: " in ended.complaint()
    assert not (root.work / "out").exists()
