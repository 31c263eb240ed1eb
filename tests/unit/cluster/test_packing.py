"""Directories as archives: what is in them, the same bytes for the same files, and the way back."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.cluster.packing import archive_of, unpack
from polyarch.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src/deep").mkdir(parents=True)
    (root / "src/deep/a.c").write_text("int a;")
    (root / "src/run").write_text("#!/bin/sh\n")
    (root / "src/run").chmod(0o755)
    (root / "link").symlink_to("src/run")
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "big.log").write_bytes(b"x" * 70000)
    os.utime(root / "src/run", ns=(1, 1_700_000_000_123_456_789))
    return root


def packed(root: Path, *args: tuple[str, ...]) -> bytes:
    found = io.BytesIO()
    archive_of(root, *args).write(found)
    return found.getvalue()


def names(root: Path) -> list[str]:
    return sorted(str(each.relative_to(root)) for each in root.rglob("*"))


def test_what_is_packed_unpacks_to_the_same(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()

    unpack(io.BytesIO(packed(root)), out)

    assert names(out) == names(root)
    assert (out / "src/run").stat().st_mode & 0o777 == 0o755
    assert (out / "src/run").stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert os.readlink(out / "link") == "src/run"
    assert (out / "big.log").read_bytes() == b"x" * 70000


def test_what_is_ignored_stays_unless_it_is_needed(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()

    unpack(io.BytesIO(packed(root, ("*.log", "src", "Dockerfile"), ("src/deep/a.c", "none"))), out)

    assert names(out) == ["link", "src", "src/deep", "src/deep/a.c"]


def test_a_fingerprint_is_of_names_sizes_and_times(root: Path) -> None:
    first = archive_of(root)
    same = archive_of(root)
    os.utime(root / "Dockerfile", ns=(1, 1))

    assert same.fingerprint == first.fingerprint
    assert archive_of(root).fingerprint != first.fingerprint
    assert archive_of(root, ("link",)).fingerprint != archive_of(root).fingerprint


def test_a_file_that_went_away_meanwhile_is_named(root: Path) -> None:
    archive = archive_of(root)
    (root / "big.log").unlink()

    with pytest.raises(InputError, match=r"can't read big\.log"):
        archive.write(io.BytesIO())


@settings(max_examples=25, deadline=None)
@given(
    files=st.dictionaries(
        st.text("abc", min_size=1, max_size=3), st.binary(max_size=40), min_size=1, max_size=6
    )
)
def test_equal_files_make_equal_archives(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = []
    for order in (sorted(files), sorted(files, reverse=True)):
        root = tmp_path_factory.mktemp("equal")
        for name in order:
            (root / name).write_bytes(files[name])
            os.utime(root / name, ns=(7, 7))
        made.append(packed(root))

    assert made[0] == made[1]
