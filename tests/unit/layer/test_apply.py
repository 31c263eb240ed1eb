import hashlib
import io
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.errors import InvalidLayer
from polyarch.layer.apply import apply, extract
from polyarch.layer.changes import write_layer
from polyarch.layer.tar import DIRECTORY, FIFO, HARD_LINK, SYMLINK, Entry, TarWriter
from polyarch.store.layerform import is_opaque
from tests.support.images.trees import MTIME, look_at, plant

T = 1_600_000_000 * 10**9 + 5


def archive(*entries: Entry | tuple[Entry, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    writer = TarWriter(out)
    for item in entries:
        entry, content = (item, b"") if isinstance(item, Entry) else item
        writer.add(entry, content)
    writer.end()
    return io.BytesIO(out.getvalue())


def test_apply_returns_the_diff_id(tmp_path: Path) -> None:
    data = archive(Entry(name="f")).getvalue() + bytes(9000)

    assert apply(io.BytesIO(data), tmp_path) == "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.mark.root
def test_apply_sets_metadata(tmp_path: Path) -> None:
    xattrs = {"user.kept": b"1", "user.overlay.opaque": b"y", "trusted.overlay.opaque": b"y"}
    apply(
        archive(
            Entry(name="d", kind=DIRECTORY, mode=0o1700, uid=3, gid=4, mtime_ns=T, xattrs=xattrs),
            (Entry(name="d/f", mode=0o6755, uid=1, gid=2, size=2, mtime_ns=T), b"ok"),
            Entry(name="d/p", kind=FIFO, mode=0o600, mtime_ns=T),
            Entry(name="d/l", kind=SYMLINK, link="f", uid=9, gid=9, mtime_ns=T),
        ),
        tmp_path,
    )
    found = {path.name: path.lstat() for path in tmp_path.rglob("*")}

    assert {
        name: (oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns) for name, s in found.items()
    } == {
        "d": ("0o41700", 3, 4, T),
        "f": ("0o106755", 1, 2, T),
        "p": ("0o10600", 0, 0, T),
        "l": ("0o120777", 9, 9, T),
    }
    assert os.listxattr(tmp_path / "d") == ["user.kept"]


def test_apply_whiteouts(tmp_path: Path) -> None:
    apply(
        archive(
            Entry(name="d", kind=DIRECTORY, mode=0o755),
            Entry(name="d/.wh..wh..opq"),
            Entry(name="d/.wh.gone"),
            Entry(name=".wh.file"),
            Entry(name=".wh.back"),
            Entry(name="back", kind=DIRECTORY, mode=0o755),
            Entry(name=".wh..wh.plnk", kind=DIRECTORY),
        ),
        tmp_path,
    )

    assert look_at(tmp_path) == {
        "back": None,
        "d": None,
        "d/gone": "(whiteout)",
        "file": "(whiteout)",
    }
    assert (is_opaque(f"{tmp_path}/d"), is_opaque(f"{tmp_path}/back")) == (True, True)


@pytest.mark.root
def test_apply_makes_missing_parents_and_replaces(tmp_path: Path) -> None:
    apply(
        archive(
            (Entry(name="a/b/f", size=1), b"1"),
            (Entry(name="a/b/f", size=1), b"2"),
            Entry(name="a/b/h", kind=HARD_LINK, link="/a/b/f"),
            Entry(name="a/b/h", kind=HARD_LINK, link="a/b/f"),
            Entry(name="./x/../y", kind=DIRECTORY, mode=0o755),
            Entry(name="y", kind=SYMLINK, link="a"),
        ),
        tmp_path,
    )

    assert look_at(tmp_path) == {"a": None, "a/b": None, "a/b/f": "2", "a/b/h": "2", "y": "-> a"}
    assert (tmp_path / "a/b/f").stat().st_nlink == 2


def test_apply_takes_forgotten_parents_from_below(tmp_path: Path) -> None:
    lower, layer = plant(tmp_path / "lower", {"d/e": None}), plant(tmp_path / "layer", {})
    (lower / "d").chmod(0o1777)
    apply(archive(Entry(name="d/e/f"), Entry(name="new/f")), layer, lowers=[lower])
    modes = {path.name: oct(path.stat().st_mode) for path in layer.rglob("*") if path.is_dir()}

    assert modes == {"d": "0o41777", "e": "0o40755", "new": "0o40755"}
    assert (layer / "d/e").stat().st_mtime == MTIME


def test_apply_follows_links_that_stay_inside(tmp_path: Path) -> None:
    apply(
        archive(
            Entry(name="usr/lib", kind=DIRECTORY, mode=0o755),
            Entry(name="lib", kind=SYMLINK, link="usr/lib"),
            (Entry(name="lib/f", size=1, mode=0o644), b"1"),
        ),
        tmp_path,
    )

    assert (tmp_path / "usr/lib/f").read_text() == "1"


def test_apply_forgets_a_link_that_became_a_directory(tmp_path: Path) -> None:
    apply(
        archive(
            Entry(name="usr/s", kind=DIRECTORY, mode=0o755),
            Entry(name="lib", kind=SYMLINK, link="usr"),
            (Entry(name="lib/s/f", size=1, mode=0o644), b"1"),
            Entry(name="lib", kind=DIRECTORY, mode=0o755),
            (Entry(name="lib/s/f", size=1, mode=0o644), b"2"),
        ),
        tmp_path,
    )

    assert ((tmp_path / "usr/s/f").read_text(), (tmp_path / "lib/s/f").read_text()) == ("1", "2")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([Entry(name="../evil")], "'../evil' leaves the root"),
        ([Entry(name="a/../../evil")], "'a/../../evil' leaves the root"),
        ([Entry(name="/evil")], "'/evil': its name is absolute"),
        ([Entry(name="l", kind=SYMLINK, link="/tmp"), Entry(name="l/evil")], "symbolic link"),
        ([Entry(name="l", kind=SYMLINK, link="../.."), Entry(name="l/evil")], "symbolic link"),
        ([Entry(name="l", kind=SYMLINK, link="l"), Entry(name="l/evil")], "'l/evil'"),
        ([Entry(name="l", kind=SYMLINK, link="/"), Entry(name="l/.wh.tmp")], "symbolic link"),
        ([Entry(name="h", kind=HARD_LINK, link="../../etc/passwd")], "leaves the root"),
        ([Entry(name="h", kind=HARD_LINK, link="nothing")], "which isn't there"),
        (
            [
                Entry(name="l", kind=SYMLINK, link="/etc"),
                Entry(name="h", kind=HARD_LINK, link="l/passwd"),
            ],
            "symbolic link",
        ),
        ([Entry(name=".wh.h"), Entry(name="x", kind=HARD_LINK, link="h")], "is no file"),
        ([Entry(name="f"), Entry(name="f/g")], "'f' is not a directory"),
        ([Entry(name=".wh...")], "it hides no name"),
        ([Entry(name="x", kind="V")], "type 'V' can't be unpacked"),
        ([Entry(name="t", mtime_ns=(1 << 70) * 10**9)], "'t'"),
    ],
)
def test_apply_refuses(tmp_path: Path, entries: list[Entry], message: str) -> None:
    root = tmp_path / "a" / "root"
    root.mkdir(parents=True)

    with pytest.raises(InvalidLayer, match=message):
        apply(archive(*entries), root)
    assert sorted(os.listdir(tmp_path / "a")) == ["root"]


@pytest.mark.root
def test_a_file_in_place_of_a_link_does_not_go_through_it(tmp_path: Path) -> None:
    outside = plant(tmp_path / "outside", {"f": "kept"})
    root = tmp_path / "root"
    root.mkdir()

    apply(
        archive(
            Entry(name="l", kind=SYMLINK, link=str(outside / "f")),
            (Entry(name="l", size=3), b"new"),
        ),
        root,
    )

    assert (look_at(outside), look_at(root)) == ({"f": "kept"}, {"l": "new"})


@pytest.mark.root
def test_extract_into_a_tree(tmp_path: Path) -> None:
    plant(tmp_path, {"real/old": "1", "link": "-> /real", "real/f": "1"})
    extract(
        archive(
            Entry(name=".", kind=DIRECTORY, mode=0),
            (Entry(name="/f", size=1, mode=0o600), b"2"),
            Entry(name=".wh.old", mode=0o644),
            Entry(name="up", kind=SYMLINK, link="/real"),
            (Entry(name="up/g", size=1), b"3"),
        ),
        tmp_path,
        "/link",
        owner=(os.geteuid(), os.getegid()),
    )

    assert look_at(tmp_path / "real") == {
        ".wh.old": "",
        "f": "2",
        "old": "1",
        "g": "3",
        "up": "-> /real",
    }


@pytest.mark.root
def test_extract_gives_directories_that_have_no_entry_to_root(tmp_path: Path) -> None:
    extract(archive(Entry(name="a/b/c", mode=0o644)), tmp_path, "/", owner=(7, 8))

    owners = [(tmp_path / name).stat().st_uid for name in ("a", "a/b", "a/b/c")]
    assert owners == [0, 0, 7]
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755


@pytest.mark.root
def test_extract_leaves_the_setgid_bit_to_directories_that_have_no_entry(tmp_path: Path) -> None:
    tmp_path.chmod(0o2755)
    there = Entry(name="there", kind=DIRECTORY, mode=0o755)
    shared = Entry(name="there/shared", kind=DIRECTORY, mode=0o2755)
    extract(
        archive(Entry(name="a/b"), there, shared, Entry(name="there/shared/c/d")), tmp_path, "/"
    )

    modes = [(tmp_path / name).stat().st_mode for name in ("a", "there", "there/shared/c")]
    assert [stat.S_IMODE(mode) for mode in modes] == [0o2755, 0o755, 0o2755]


@pytest.mark.root
def test_extract_heeds_what_a_hard_link_says(tmp_path: Path) -> None:
    first = Entry(name="f", mode=0o644, mtime_ns=T)
    link = Entry(name="l", kind=HARD_LINK, link="f", mode=0o4711, uid=3, gid=4, mtime_ns=2 * T)
    extract(archive(first, link), tmp_path, "/")

    found = (tmp_path / "f").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o4711, 3, 4)
    assert found.st_mtime_ns == 2 * T


def test_times_before_1970_become_1970(tmp_path: Path) -> None:
    entries = [
        Entry(name="d", kind=DIRECTORY, mode=0o755, mtime_ns=-5 * 10**9),
        Entry(name="f", mtime_ns=-5 * 10**9),
        Entry(name="l", kind=SYMLINK, link="f", mtime_ns=-5 * 10**9),
    ]
    extract(archive(*entries), tmp_path, "/")

    assert [(tmp_path / name).lstat().st_mtime for name in "dfl"] == [0, 0, 0]


NAMES = st.sampled_from(["a", "b", "c", "é", ".x", "n" * 120])
NODES = st.one_of(
    st.tuples(st.just("f"), st.binary(max_size=2000), st.sampled_from([0o644, 0o4755, 0o000])),
    st.tuples(st.just("l"), st.sampled_from([b"a", b"/x", b"../" * 60]), st.just(0o777)),
    st.tuples(st.just("p"), st.just(b""), st.just(0o600)),
    st.tuples(st.just("w"), st.just(b""), st.just(0)),
)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), NODES, max_size=12)


def grow(root: Path, tree: dict[str, tuple[str, bytes, int]]) -> None:
    for name, (kind, content, mode) in sorted(tree.items()):
        path = root / name
        if path.exists() or path.is_symlink() or not _make_parents(path.parent, root):
            continue
        if kind == "f":
            path.write_bytes(content)
            path.chmod(mode)
        elif kind == "l":
            path.symlink_to(content.decode())
        elif kind == "p":
            os.mkfifo(path, mode)
        else:
            os.mknod(path, stat.S_IFCHR)
        os.utime(path, ns=(0, len(name) * 10**9), follow_symlinks=False)


def _make_parents(directory: Path, root: Path) -> bool:
    if directory == root:
        return True
    if not _make_parents(directory.parent, root):
        return False
    if not directory.exists() and not directory.is_symlink():
        directory.mkdir()
    return directory.is_dir() and not directory.is_symlink()


@pytest.mark.root
@settings(max_examples=40, deadline=None)
@given(lower=TREES, upper=TREES)
def test_apply_undoes_write(
    lower: dict[str, tuple[str, bytes, int]], upper: dict[str, tuple[str, bytes, int]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        roots = [Path(name) / part for part in ("lower", "upper", "again")]
        for root in roots:
            root.mkdir()
        grow(roots[0], {k: v for k, v in lower.items() if v[0] != "w"})
        grow(roots[1], upper)
        first, second = io.BytesIO(), io.BytesIO()
        write_layer(roots[1], [roots[0]], first)
        apply(io.BytesIO(first.getvalue()), roots[2])
        write_layer(roots[2], [roots[0]], second)

        assert second.getvalue() == first.getvalue()
