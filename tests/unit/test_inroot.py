import os
import stat
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch import syscalls
from polyarch.errors import InputError
from polyarch.inroot import (
    NODE_XATTR,
    OWNER_XATTR,
    get_node,
    get_owner,
    make_node,
    resolve,
    set_owner,
)
from tests.support.images.trees import plant
from tests.support.machine.namespaces import in_user_namespace


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


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES | st.sampled_from(["..", ".", ""]), min_size=1, max_size=5).map("/".join)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.none() | PATHS.map(lambda path: f"-> {path or '/'}") | st.just("text"),
    max_size=8,
)


def grow(root: Path, tree: dict[str, str | None]) -> None:
    """Plant what can be planted: what lies below a link is left out."""
    root.mkdir()
    for name, text in sorted(tree.items()):
        with suppress(OSError):
            if not any((root / name).parents[depth].is_symlink() for depth in range(3)):
                plant(root, {name: text})


@given(tree=TREES, paths=st.lists(PATHS, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_resolve_agrees_with_the_kernel_and_never_leaves(
    tree: dict[str, str | None], paths: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        grow(root, tree)
        descriptor = os.open(root, os.O_PATH)
        for path in paths:
            with suppress(InputError):
                found = resolve(root, path)
                assert os.path.realpath(found) == str(found)
                assert found == root or root in found.parents
            with suppress(OSError):
                opened = syscalls.openat2(
                    descriptor, path or ".", os.O_PATH, resolve=syscalls.RESOLVE_IN_ROOT
                )
                place = os.readlink(f"/proc/self/fd/{opened}")
                os.close(opened)
                assert str(resolve(root, path)) == place
        os.close(descriptor)


@given(tree=TREES, path=PATHS)
@settings(max_examples=60, deadline=None)
def test_resolve_without_the_last_link_resolves_its_directory(
    tree: dict[str, str | None], path: str
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        grow(root, tree)
        with suppress(InputError):
            found = resolve(root, path, follow_last=False)

            assert found == root or os.path.realpath(found.parent) == str(found.parent)
            assert found == root or root in found.parents


def test_an_owner_that_is_not_mapped_is_recorded(tmp_path: Path) -> None:
    plant(tmp_path, {"f": "text", "d": None, "link": "-> f"})
    names = ("f", "d", "link", "fifo", "socket")

    def check() -> None:
        os.mkfifo(tmp_path / "fifo")
        os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o644)
        for name in names:
            set_owner(tmp_path / name, 1000, 1001)
        assert {get_owner(tmp_path / name) for name in names} == {(1000, 1001)}
        set_owner(tmp_path / "f", 0, 0)
        set_owner(tmp_path / "link", 0, 0)
        assert get_owner(tmp_path / "f") == get_owner(tmp_path / "link") == (0, 0)
        assert os.listxattr(tmp_path / "f") == []

    in_user_namespace(check)
    assert get_owner(tmp_path / "fifo") == (1000, 1001), "it is to be read from outside, too"


def test_capabilities_of_a_program_are_no_owner(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("x")

    def check() -> None:
        value = struct.pack("<IIIII", 0x02000000, 1, 2, 3, 4)
        os.setxattr(link, "security.capability", value, follow_symlinks=False)
        assert get_owner(link) == (0, 0)

    in_user_namespace(check)


def test_nodes_that_are_forbidden_have_stand_ins(tmp_path: Path) -> None:
    def check() -> None:
        os.umask(0)
        make_node(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        make_node(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(8, 300))
        make_node(tmp_path / "fifo", stat.S_IFIFO | 0o644, 0)
        found = {path.name: get_node(path, path.lstat()) for path in sorted(tmp_path.iterdir())}
        assert found == {
            "disk": (stat.S_IFBLK | 0o600, os.makedev(8, 300)),
            "fifo": (stat.S_IFIFO | 0o644, 0),
            "null": (stat.S_IFCHR | 0o666, os.makedev(1, 3)),
        }

    in_user_namespace(check)
    assert os.getxattr(tmp_path / "null", NODE_XATTR) == b"c:1:3"


def test_a_file_with_content_is_no_node(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("text")
    os.setxattr(file, NODE_XATTR, b"c:1:3")

    assert get_node(file, file.lstat())[0] == file.lstat().st_mode


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
