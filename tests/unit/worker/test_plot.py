"""Where a copy may go straight into its layer's directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from polyarch.graph.op import CopyAction, FileAction, MkdirAction
from polyarch.worker.plot import find_plot, lay_out

OLD = 1_600_000_000


@pytest.fixture
def lowers(tmp_path: Path) -> list[Path]:
    low, high = tmp_path / "low", tmp_path / "high"
    for path in (low / "usr/bin", low / "app", low / "gone/deep", high / "app", high / "opt/x"):
        path.mkdir(parents=True)
    (low / "usr/bin/tool").touch()
    (low / "link").symlink_to("usr")
    os.mknod(high / "gone", stat.S_IFCHR, 0)
    (low / "usr").chmod(0o711)
    os.utime(low / "usr", (OLD, OLD))
    return [low, high]


def copy(destination: str, owner: str = "", *, unpack: bool = False) -> CopyAction:
    return CopyAction(input=0, sources=(".",), destination=destination, owner=owner, unpack=unpack)


@pytest.mark.parametrize(
    ("action", "paths"),
    [
        (copy("/new"), []),
        (copy("/new/deeper/"), []),
        (copy("/gone/deep/"), []),
        (copy("/app/"), ["app"]),
        (copy("/app/new/"), ["app"]),
        (copy("/usr/new"), ["usr"]),
        (copy("/usr/bin/new", "1000:1000"), ["usr", "usr/bin"]),
        (copy("/opt/x"), ["opt", "opt/x"]),
    ],
)
def test_nothing_in_the_way(lowers: list[Path], action: CopyAction, paths: list[str]) -> None:
    plot = find_plot([action], lowers)

    assert plot is not None
    assert [path for _, path in plot] == paths


@pytest.mark.parametrize(
    "action",
    [
        copy("/"),
        copy("/usr/"),
        copy("/usr/bin"),
        copy("/usr/bin/tool"),
        copy("/usr/bin/tool/x"),
        copy("/link/new"),
        copy("/app/../usr"),
        copy("/new", "www-data"),
        copy("/new", unpack=True),
        MkdirAction(path="/new", mode=0o755),
    ],
)
def test_something_to_see_below(lowers: list[Path], action: FileAction) -> None:
    assert find_plot([action], lowers) is None


def test_directories_are_like_those_below(lowers: list[Path], tmp_path: Path) -> None:
    plot = find_plot([copy("/usr/bin/new")], lowers)
    assert plot is not None
    (tmp_path / "upper").mkdir()

    lay_out(plot, tmp_path / "upper")

    made = tmp_path / "upper/usr"
    assert stat.S_IMODE(made.stat().st_mode) == 0o711
    assert made.stat().st_mtime == OLD
    assert list(made.rglob("*")) == [made / "bin"]
