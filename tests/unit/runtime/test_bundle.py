"""What is made around a step, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyarch.errors import InputError, StoreError
from polyarch.runtime.base import Refused
from polyarch.runtime.bundle import (
    MountPoint,
    mount_points,
    plan_mount_points,
    write_bundle,
)
from polyarch.runtime.step import Bind, Mount, Step, Tmpfs
from tests.support.images.trees import look_at, plant

SYSTEM = ["/proc", "/dev", "/sys"]


def step(root: Path, *mounts: Mount) -> Step:
    return Step(argv=("true",), rootfs=str(root), mounts=mounts)


def made(root: Path, *mounts: Mount) -> list[str]:
    """What is made in the root, besides what every step needs; directories end with a slash."""
    with mount_points(step(root, *mounts)) as paths:
        found = [path + "/" * (root / path[1:]).is_dir() for path in paths if path not in SYSTEM]
    return sorted(found)


def test_system_directories_are_made_where_they_are_missing_and_stay(tmp_path: Path) -> None:
    plant(tmp_path, {"proc": None})

    with mount_points(step(tmp_path)) as paths:
        assert paths == ("/dev", "/sys")

    assert look_at(tmp_path) == {"dev": None, "proc": None, "sys": None}


@pytest.mark.parametrize("target", ["/dev", "/dev/shm", "/dev/deep/er/"])
def test_a_system_directory_of_a_mount_is_removed_as_buildkit_does(
    tmp_path: Path, target: str
) -> None:
    with mount_points(step(tmp_path, Tmpfs(target=target))):
        assert look_at(tmp_path) == {"dev": None, "proc": None, "sys": None}

    assert look_at(tmp_path) == {"proc": None, "sys": None}


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("content", ["-> tmp", "-> /nowhere", "text"])
def test_a_system_directory_that_is_none_is_refused(
    tmp_path: Path, name: str, content: str
) -> None:
    root = plant(tmp_path, {name: content, "tmp": None})
    before = look_at(root)

    with (
        pytest.raises(Refused, match=rf"^/{name} of the image is no directory"),
        mount_points(step(root)),
    ):
        pass

    assert look_at(root) == before


def test_a_mount_on_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing can be mounted on /proc"):
        plan_mount_points(step(tmp_path, Tmpfs(target="/proc/")))


def test_kinds_of_mount_points(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"etc/hosts": ""})
    plant(tmp_path, {"file": "", "directory": None})
    file, directory = str(tmp_path / "file"), str(tmp_path / "directory")

    found = made(
        root,
        Bind(source=file, target="/etc/hosts"),
        Bind(source=file, target="/etc/resolv.conf"),
        Bind(source=directory, target="/a/b/c/"),
        Tmpfs(target="/tmp"),
        Bind(source=file, target="/run/secrets/key"),
    )

    assert found == [
        "/a/",
        "/a/b/",
        "/a/b/c/",
        "/etc/resolv.conf",
        "/run/",
        "/run/secrets/",
        "/run/secrets/key",
        "/tmp/",
    ]


def test_what_is_below_another_mount_is_not_the_roots(tmp_path: Path) -> None:
    found = made(tmp_path, Tmpfs(target="/t"), Tmpfs(target="/t/below"), Tmpfs(target="/dev/x"))

    assert found == ["/t/"]


def test_what_is_covered_only_later_is_the_roots(tmp_path: Path) -> None:
    found = made(tmp_path, Tmpfs(target="/etc/x"), Tmpfs(target="/etc"))

    assert found == ["/etc/", "/etc/x/"]


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"var/run": "-> /run", "out": "-> ../../.."})

    found = made(root, Tmpfs(target="/var/run/x"), Tmpfs(target="/out/y"))

    assert found == ["/run/", "/run/x/", "/y/"]


PLACES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
ROOTS = st.dictionaries(
    PLACES, st.none() | st.sampled_from(["", "text", "-> /a", "-> b"]), max_size=4
)


@given(files=ROOTS, targets=st.lists(PLACES, max_size=4))
@example(files={"a/b": ""}, targets=["a/a", "a/b"])
@settings(deadline=None, max_examples=60)
def test_a_root_is_as_it_was(files: dict[str, str | None], targets: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        root.mkdir()
        for place, text in files.items():
            with suppress(OSError):
                if not any(parent.is_symlink() for parent in (root / place).parents):
                    plant(root, {place: text})
        before = look_at(root), times(root)
        mounts = [Tmpfs(target=f"/{target}") for target in targets]

        with suppress(StoreError, InputError, Refused), mount_points(step(root, *mounts)) as paths:
            assert all(os.path.lexists(f"{root}{path}") for path in paths)

        for each in {"dev", "proc", "sys"} - before[0].keys():
            with suppress(FileNotFoundError):
                (root / each).rmdir()
        os.utime(root, ns=(before[1][str(root)],) * 2)
        assert (look_at(root), times(root)) == before


def times(root: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in (root, *root.rglob("*"))}


def test_what_the_step_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    bind = Bind(source=str(tmp_path / "s"), target="/kept/file")
    root = plant(tmp_path / "root", {"proc": None, "dev": None, "sys": None})

    with mount_points(step(root, bind, Tmpfs(target="/gone"), Tmpfs(target="/d"))):
        (root / "kept/file").write_text("by the step")
        (root / "d/new").touch()

    assert look_at(root) == {
        "d": None,
        "d/new": "",
        "dev": None,
        "kept": None,
        "kept/file": "by the step",
        "proc": None,
        "sys": None,
    }


def test_what_the_step_does_beside_a_mount_point_shows_in_the_directories_time(
    tmp_path: Path,
) -> None:
    root = plant(tmp_path / "root", {"proc": None, "dev": None, "sys": None, "a": None, "b": None})
    for name in ("a", "b"):
        os.utime(root / name, (1, 1))
    by_the_step = 5_000_000_000

    with mount_points(step(root, Tmpfs(target="/a/x"), Tmpfs(target="/b/x"))):
        assert [(root / name).stat().st_mtime for name in ("a", "b")] == [1, 1]
        os.utime(root / "a", ns=(by_the_step, by_the_step))

    assert times(root)[str(root / "a")] == by_the_step
    assert times(root)[str(root / "b")] == 1_000_000_000


def test_a_directory_that_the_step_removes(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"a": None, "proc": None, "dev": None, "sys": None})

    with mount_points(step(root, Tmpfs(target="/a/x"))):
        (root / "a/x").rmdir()
        (root / "a").rmdir()

    assert look_at(root) == {"dev": None, "proc": None, "sys": None}


def test_a_file_in_the_way_is_an_error_and_nothing_stays(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"a": "file"})

    with (
        pytest.raises(StoreError, match=r"can't be made for a mount: Not a directory$"),
        mount_points(step(root, Tmpfs(target="/a/b"))),
    ):
        pass

    assert look_at(root) == {"a": "file"}


def test_points_are_described() -> None:
    points = [
        MountPoint(path="/r/a", is_directory=True),
        MountPoint(path="/r/b", is_directory=False),
    ]

    assert [point.describe() for point in points] == ["directory /r/a", "file /r/b"]


def test_a_bundle_is_its_configuration(tmp_path: Path) -> None:
    write_bundle(tmp_path, {"ociVersion": "1.0.2"})

    assert json.loads((tmp_path / "config.json").read_text()) == {"ociVersion": "1.0.2"}


def test_directories_that_are_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"

    with pytest.raises(StoreError, match=r"gone can't be written: No such file or directory$"):
        write_bundle(gone, {})
