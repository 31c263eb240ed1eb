"""Sets of twins, made of busybox for two machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.errors import StoreError
from polyarch.platforms import linux
from polyarch.twins.sets import NoTwins, TwinSet, load_set, make_set
from tests.support.images.rootfs import make_rootfs

ARM64 = linux("arm64")


@pytest.fixture(scope="module")
def made_roots(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    directory = tmp_path_factory.mktemp("roots")
    return {each: make_rootfs(directory / each, each) for each in ("amd64", "arm64")}


@pytest.fixture
def roots(made_roots: Mapping[str, Path], tmp_path: Path) -> Mapping[str, Path]:
    """Copies that a test may change."""
    return {
        name: Path(shutil.copytree(root, tmp_path / name, symlinks=True))
        for name, root in made_roots.items()
    }


def make(roots: Mapping[str, Path], tmp_path: Path, number: int = 3) -> TwinSet | NoTwins:
    directory = tmp_path / "sets" / str(number)
    directory.parent.mkdir(exist_ok=True)
    return make_set(roots["arm64"], roots["amd64"], ARM64, directory, number)


def reason(made: TwinSet | NoTwins) -> str:
    assert isinstance(made, NoTwins)
    return made.reason


def test_a_set_is_made_and_read_again(roots: Mapping[str, Path], tmp_path: Path) -> None:
    made = make(roots, tmp_path)

    assert isinstance(made, TwinSet)
    assert load_set(made.directory) == made
    assert os.listdir(made.directory.parent) == ["3"]
    (twin,) = made.twins
    assert (twin.path, twin.starts, twin.ring) == ("/bin/busybox", "/bin/busybox", "a")
    assert twin.header == (roots["arm64"] / "bin/busybox").read_bytes()[:256]
    summed = subprocess.run(
        ["sha256sum", roots["arm64"] / "bin/busybox"], check=True, capture_output=True, text=True
    )
    assert summed.stdout.startswith(twin.digest)


def test_a_twin_that_is_started_as_itself_runs_and_tells_the_foreign_machine(
    roots: Mapping[str, Path], tmp_path: Path
) -> None:
    made = make(roots, tmp_path)
    assert isinstance(made, TwinSet)
    program = made.directory / "root/bin/busybox"

    told = subprocess.run([program, "uname", "-m"], check=True, capture_output=True, text=True)

    assert told.stdout == "aarch64\n"


def test_every_user_may_read_it(roots: Mapping[str, Path], tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = make(roots, tmp_path)
    finally:
        os.umask(before)

    assert isinstance(made, TwinSet)
    for place, _, files in os.walk(made.directory / "root"):
        for path in (Path(place), *(Path(place, each) for each in files)):
            assert path.stat().st_mode & 0o777 == 0o755


def test_one_that_is_there_already_stays(roots: Mapping[str, Path], tmp_path: Path) -> None:
    first = make(roots, tmp_path)
    assert isinstance(first, TwinSet)
    inode = first.directory.stat().st_ino

    assert make(roots, tmp_path) == first
    assert first.directory.stat().st_ino == inode
    assert os.listdir(first.directory.parent) == ["3"]


def test_a_place_that_cant_be_written(roots: Mapping[str, Path], tmp_path: Path) -> None:
    place = tmp_path / "sets"
    place.write_text("no directory")

    with pytest.raises(StoreError, match="can't be written"):
        make_set(roots["arm64"], roots["amd64"], ARM64, place / "1", 1)


@pytest.mark.parametrize(
    ("key", "value"), [("format", 0), ("twins", [{"path": "x"}]), ("platform", ["linux"])]
)
def test_a_set_of_another_version_is_none(
    roots: Mapping[str, Path], tmp_path: Path, key: str, value: object
) -> None:
    made = make(roots, tmp_path)
    assert isinstance(made, TwinSet)
    document = made.directory / "twins.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {key: value}))

    assert load_set(made.directory) is None


def test_nothing_is_no_set(tmp_path: Path) -> None:
    assert load_set(tmp_path / "1") is None
    (tmp_path / "2").mkdir()
    (tmp_path / "2/twins.json").write_text("{")
    assert load_set(tmp_path / "2") is None


def test_there_are_none_for_a_big_endian_machine(roots: Mapping[str, Path], tmp_path: Path) -> None:
    made = make_set(roots["arm64"], roots["amd64"], linux("s390x"), tmp_path / "1", 1)

    assert reason(made) == "there are no native twins for linux/s390x"


def test_numbers_end(roots: Mapping[str, Path], tmp_path: Path) -> None:
    assert "too many" in reason(make(roots, tmp_path, 100_000))


def test_libraries_for_every_program_are_obeyed(roots: Mapping[str, Path], tmp_path: Path) -> None:
    (roots["arm64"] / "etc/ld.so.preload").write_text("/lib/x.so")

    assert "/etc/ld.so.preload" in reason(make(roots, tmp_path))


def test_another_locale_is_another_order(roots: Mapping[str, Path], tmp_path: Path) -> None:
    for name, root in roots.items():
        locale = root / "usr/lib/locale/C.utf8/LC_CTYPE"
        locale.parent.mkdir(parents=True)
        locale.write_text(name)

    assert (
        reason(make(roots, tmp_path)) == "/usr/lib/locale/C.utf8 is another one in the native image"
    )


def package(root: Path, version: str) -> None:
    database = root / "var/lib/dpkg"
    (database / "info").mkdir(parents=True)
    stanza = f"Package: busybox-static\nStatus: install ok installed\nVersion: {version}\n"
    (database / "status").write_text(stanza)
    (database / "info/busybox-static.list").write_text("/.\n/bin\n/bin/busybox\n")


@pytest.mark.parametrize(
    ("native", "refused"),
    [
        ("1.35-4", ""),
        ("1.35-4+b3", ""),
        ("1.35-5", "busybox-static is 1.35-5 in the native image, and 1.35-4"),
    ],
)
def test_versions_are_the_same(
    roots: Mapping[str, Path], tmp_path: Path, native: str, refused: str
) -> None:
    package(roots["arm64"], "1.35-4")
    package(roots["amd64"], native)

    made = make(roots, tmp_path)

    assert isinstance(made, NoTwins) is bool(refused)
    assert refused in (made.reason if isinstance(made, NoTwins) else "")


def test_packages_are_in_both(roots: Mapping[str, Path], tmp_path: Path) -> None:
    package(roots["arm64"], "1")

    assert "another kind of packages" in reason(make(roots, tmp_path))


@pytest.mark.parametrize("changed", ["arm64", "amd64"])
def test_links_lead_nowhere_outside(
    roots: Mapping[str, Path], tmp_path: Path, changed: str
) -> None:
    root = roots[changed]
    (root / "bin").rename(tmp_path / "outside")
    (root / "bin").symlink_to(tmp_path / "outside")

    assert "no program of the image has a native twin" in reason(make(roots, tmp_path))


@pytest.mark.parametrize(("mode", "why"), [(0o4755, "special rights"), (0o711, "special rights")])
def test_programs_with_special_rights_have_none(
    roots: Mapping[str, Path], tmp_path: Path, mode: int, why: str
) -> None:
    (roots["arm64"] / "bin/busybox").chmod(mode)

    assert why in reason(make(roots, tmp_path))


def test_the_other_way_round_there_is_none(roots: Mapping[str, Path], tmp_path: Path) -> None:
    turned = {"arm64": roots["amd64"], "amd64": roots["arm64"]}

    assert "it is no program for linux/arm64" in reason(make(turned, tmp_path))
