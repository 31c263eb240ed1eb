import os
import stat
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.inroot import OWNER_XATTR, get_node, get_owner, open_in_root, resolve, set_owner
from trees import plant


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/f", "a/f"),
        ("/a/./f", "a/f"),
        ("../../a", "a"),
        ("abs/f", "a/f"),
        ("rel/f", "a/f"),
        ("out/etc", "etc"),
        ("new/../a", "a"),
        ("missing/x", "missing/x"),
        ("", ""),
    ],
)
def test_resolve_stays_inside(tmp_path: Path, path: str, expected: str) -> None:
    plant(tmp_path, {"a/f": "1", "abs": "-> /a", "rel": "-> ./a", "out": "-> ../../.."})

    assert resolve(tmp_path, path) == tmp_path / expected


def test_resolve_leaves_the_last_link(tmp_path: Path) -> None:
    plant(tmp_path, {"a": "1", "link": "-> a"})

    assert resolve(tmp_path, "link", follow_last=False) == tmp_path / "link"


def test_resolve_refuses_a_loop(tmp_path: Path) -> None:
    plant(tmp_path, {"a": "-> b", "b": "-> a"})

    with pytest.raises(InputError, match="too many symbolic links in 'a/x'"):
        resolve(tmp_path, "a/x")


def test_open_in_root_follows_links_inside(tmp_path: Path) -> None:
    plant(tmp_path, {"etc/passwd": "ours", "link": "-> /etc/passwd"})

    with open(open_in_root(tmp_path, "link", os.O_RDONLY)) as file:
        assert file.read() == "ours"


@pytest.mark.root
def test_set_owner_gives_an_owner_and_forgets_a_recorded_one(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    os.setxattr(file, OWNER_XATTR, b"5:6")
    recorded = get_owner(file)

    set_owner(file, 7, 8)

    assert (recorded, get_owner(file)) == ((5, 6), (7, 8))


def test_get_node_of_a_stand_in(tmp_path: Path) -> None:
    file = tmp_path / "null"
    file.touch(mode=0o600)
    os.setxattr(file, "user.polyarch.node", b"c:1:3")

    assert get_node(file, file.lstat()) == (stat.S_IFCHR | 0o600, os.makedev(1, 3))
