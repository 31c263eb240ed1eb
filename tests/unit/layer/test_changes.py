import io
import os
import socket
from pathlib import Path

import pytest

from polyarch.layer.changes import layer_changes, write_changes, write_layer
from polyarch.layer.tarread import TarReader
from polyarch.store.layerform import make_opaque, make_whiteout
from tests.support.images.trees import MTIME, plant


def names(upper: Path, *lowers: Path) -> list[str]:
    out = io.BytesIO()
    write_layer(upper, lowers, out)
    return [entry.name for entry in TarReader(io.BytesIO(out.getvalue()))]


def test_additions_in_order(tmp_path: Path) -> None:
    upper = plant(
        tmp_path / "u", {"b/x": "1", "b.c": "2", "a": None, "B": "3", "é": "", "z": "-> b"}
    )

    assert names(upper) == ["B", "a", "b", "b/x", "b.c", "z", "é"]


def test_metadata(tmp_path: Path) -> None:
    upper = plant(tmp_path / "u", {"f": "hello", "l": "-> f"})
    (upper / "f").chmod(0o4750)
    os.utime(upper / "f", ns=(0, MTIME * 10**9 + 999_999_999))
    os.setxattr(upper / "f", "user.other", b"dropped")
    os.setxattr(upper / "f", "user.polyarch.owner", b"12:34")
    out = io.BytesIO()
    write_layer(upper, [], out)
    file, link = TarReader(io.BytesIO(out.getvalue()))

    assert (file.mode, file.uid, file.gid, file.mtime_ns, dict(file.xattrs), file.size) == (
        0o4750,
        12,
        34,
        MTIME * 10**9,
        {},
        5,
    )
    assert (link.kind, link.link, link.mode) == ("2", "f", 0o777)


def test_unchanged_copies_are_left_out(tmp_path: Path) -> None:
    lower = plant(tmp_path / "l", {"d/same": "1", "d/text": "1", "d/sub/deep": "1", "e/x": "1"})
    upper = plant(tmp_path / "u", {"d/same": "1", "d/text": "2", "d/sub": None, "e": None})

    assert names(upper, lower) == ["d", "d/text"]


def test_a_directory_with_another_mode_is_a_change(tmp_path: Path) -> None:
    lower = plant(tmp_path / "l", {"d/x": "1"})
    upper = plant(tmp_path / "u", {"d": None})
    (upper / "d").chmod(0o700)

    assert names(upper, lower) == ["d"]


def test_whiteouts(tmp_path: Path) -> None:
    lower = plant(tmp_path / "l", {"d/gone": "1", "d/kept": "1", "tree/x": "1"})
    upper = plant(tmp_path / "u", {"d": None})
    for name in ("d/gone", "tree", "never"):
        make_whiteout(f"{upper}/{name}")
    os.utime(upper / "d", (MTIME, MTIME))
    out = io.BytesIO()
    write_layer(upper, [lower], out)
    entries = list(TarReader(io.BytesIO(out.getvalue())))

    assert [(e.name, e.kind, e.mtime_ns) for e in entries] == [
        ("d", "5", MTIME * 10**9),
        ("d/.wh.gone", "0", 0),
        (".wh.tree", "0", 0),
    ]
    assert (entries[1].mode, entries[1].size, entries[1].uid) == (0, 0, 0)


def test_opaque_directories_become_whiteouts(tmp_path: Path) -> None:
    base = plant(tmp_path / "1", {"d/a": "1", "d/b": "1", "d/s/x": "1", "d/s/y": "1"})
    above = plant(tmp_path / "2", {"d/c": "1"})
    make_whiteout(f"{above}/d/a")
    upper = plant(tmp_path / "u", {"d/b": "1", "d/n": "1", "d/s/y": "2"})
    make_opaque(f"{upper}/d")

    assert names(upper, base, above) == ["d", "d/.wh.c", "d/n", "d/s", "d/s/.wh.x", "d/s/y"]


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    lower = plant(tmp_path / "l", {"x": "file"})
    upper = plant(tmp_path / "u", {"x/y": "1"})
    make_opaque(f"{upper}/x")

    assert names(upper, lower) == ["x", "x/y"]


def test_hard_links_within_the_layer(tmp_path: Path) -> None:
    upper = plant(tmp_path / "u", {"b": "text"})
    (upper / "a").mkdir()
    os.link(upper / "b", upper / "a/z")
    os.link(upper / "b", upper / "c")
    out = io.BytesIO()
    write_layer(upper, [], out)

    assert [(e.name, e.kind, e.link, e.size) for e in TarReader(io.BytesIO(out.getvalue()))] == [
        ("a", "5", "", 0),
        ("a/z", "0", "", 4),
        ("b", "1", "a/z", 0),
        ("c", "1", "a/z", 0),
    ]


def test_sockets_are_skipped_and_fifos_are_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))

    assert names(tmp_path) == ["fifo"]


def test_equal_whole_seconds_are_decided_by_content(tmp_path: Path) -> None:
    lower = plant(tmp_path / "l", {"same": "abc", "other": "abc", "link": "-> abc"})
    upper = plant(tmp_path / "u", {"same": "abc", "other": "abd", "link": "-> abd"})

    assert [change.path for change in layer_changes(upper, [lower])] == ["link", "other"]


def test_equal_nanoseconds_are_believed(tmp_path: Path) -> None:
    lower, upper = plant(tmp_path / "l", {"f": "abc"}), plant(tmp_path / "u", {"f": "abd"})
    for root in (lower, upper):
        os.utime(root / "f", ns=(5, 5))

    assert list(layer_changes(upper, [lower])) == []


def test_a_linked_layer_has_all_that_it_removes(tmp_path: Path) -> None:
    upper = plant(tmp_path / "u", {"d/kept": "1", "h/new": "1"})
    make_whiteout(f"{upper}/d/gone")
    make_opaque(f"{upper}/h")
    out = io.BytesIO()

    write_layer(upper, [], out, is_linked=True)

    found = [entry.name for entry in TarReader(io.BytesIO(out.getvalue()))]
    assert found == ["d", "d/.wh.gone", "d/kept", "h", "h/.wh..wh..opq", "h/new"]
    assert names(upper) == ["d", "d/kept", "h", "h/new"], (
        "nothing is there that it could be removed from"
    )


def test_a_directory_that_hides_another_is_compared_with_it(tmp_path: Path) -> None:
    lower, upper = tmp_path / "l", tmp_path / "u"
    plant(lower / "h", {"a": "1", "b/c": "1", "b/d": "1", "gone/x/y": "1", "t": "1"})
    plant(upper / "h", {"a": "1", "b/c": "2", "b/d": "1", "new": "1", "t/u": "1"})
    make_opaque(f"{upper}/h")

    assert [(c.path, c.status is None) for c in layer_changes(upper, [lower])] == [
        ("h/b/c", False),
        ("h/gone", True),
        ("h/new", False),
        ("h/t", False),
        ("h/t/u", False),
    ]


def test_a_new_name_of_an_unchanged_file_brings_the_others(tmp_path: Path) -> None:
    lower, upper = plant(tmp_path / "l", {"h/b": "1"}), plant(tmp_path / "u", {"h/b": "1"})
    make_opaque(f"{upper}/h")
    os.link(upper / "h/b", upper / "h/c")
    out = io.BytesIO()
    write_changes(upper, layer_changes(upper, [lower]), out)

    assert [(e.name, e.link) for e in TarReader(io.BytesIO(out.getvalue()))] == [
        ("h", ""),
        ("h/c", ""),
        ("h/b", "h/c"),
    ]


def test_clamp(tmp_path: Path) -> None:
    upper = plant(tmp_path / "u", {"f": "1"})
    out = io.BytesIO()
    write_layer(upper, [], out, clamp=lambda mtime: min(mtime, 7 * 10**9))

    assert [e.mtime_ns for e in TarReader(io.BytesIO(out.getvalue()))] == [7 * 10**9]


@pytest.mark.root
def test_capabilities_are_kept(tmp_path: Path) -> None:
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    upper = plant(tmp_path / "u", {"ping": "x"})
    os.setxattr(upper / "ping", "security.capability", value)
    out = io.BytesIO()
    write_layer(upper, [], out)

    assert [dict(e.xattrs) for e in TarReader(io.BytesIO(out.getvalue()))] == [
        {"security.capability": value}
    ]
