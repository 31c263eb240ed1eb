"""Go's toolchains in roots, and which of their tools have native twins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polyarch.errors import InputError, MachineError
from polyarch.platforms import linux
from polyarch.twins.gotools import GoTool, check_toolchain, find_tools
from polyarch.twins.pairs import Roots, find_pairs
from tests.support.machine.twinprograms import make_toolchain

ARM64 = linux("arm64")
TOOL = "pkg/tool/linux_arm64"


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """A root for arm64 and a native one, with a toolchain of the same release."""
    foreign, native = tmp_path / "foreign", tmp_path / "native"
    make_toolchain(foreign / "usr/lib/go-1.99", "arm64")
    make_toolchain(native / "usr/lib/go-1.99", "amd64")
    return foreign, native


def test_tools_are_found_once_whatever_leads_to_them(roots: tuple[Path, Path]) -> None:
    foreign, _ = roots
    (foreign / "usr/lib/go").symlink_to("go-1.99")
    (foreign / "usr/local").mkdir()
    (foreign / "usr/local/go").symlink_to("/usr/lib/go")
    (foreign / "usr/lib/go-none").mkdir()
    there = "/usr/lib/go-1.99"

    assert list(find_tools(foreign, ARM64)) == [
        GoTool(
            path=f"{there}/{TOOL}/{name}",
            native=f"{there}/pkg/tool/linux_amd64/{name}",
            toolchain=there,
        )
        for name in ("asm", "compile")
    ] + [
        GoTool(
            path=f"{there}/bin/gofmt",
            native=f"{there}/bin/gofmt",
            toolchain=there,
            needs_goarch=False,
        )
    ]
    assert next(iter(find_tools(foreign, linux("arm", "v7")))).path == f"{there}/bin/gofmt"


def test_tools_have_twins(roots: tuple[Path, Path]) -> None:
    pairs, refused = find_pairs(Roots.of(*roots, ARM64))

    assert [(pair.path.rpartition("/")[2], pair.ring) for pair in pairs] == [
        ("asm", "c"),
        ("compile", "c"),
        ("gofmt", "c"),
    ]
    assert refused == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ("go1.99.1", "go1.99.2", "Go is go1.99.1 in the native image, and go1.99.2"),
        ("devel go1.99-abc", "devel go1.99-abc", "isn't a release"),
    ],
)
def test_another_release_has_none(
    roots: tuple[Path, Path], ours: str, theirs: str, reason: str
) -> None:
    foreign, native = (root / "usr/lib/go-1.99" for root in roots)
    make_toolchain(native, "amd64", ours)
    make_toolchain(foreign, "arm64", theirs)

    with pytest.raises(MachineError, match=reason):
        check_toolchain(*roots, "/usr/lib/go-1.99")


def test_a_tool_of_another_release_than_its_toolchain_has_none(roots: tuple[Path, Path]) -> None:
    for root, name in zip(roots, ("arm64", "amd64"), strict=True):
        place = root / "usr/lib/go-1.99"
        make_toolchain(place, name, "go1.99.3")
        (place / "VERSION").write_text("go1.98")

    pairs, refused = find_pairs(Roots.of(*roots, ARM64))

    assert pairs == []
    assert set(refused.values()) == {"it isn't of go1.98, as the toolchain says"}


def test_a_toolchain_that_the_native_image_lacks_has_none(roots: tuple[Path, Path]) -> None:
    shutil.rmtree(roots[1] / "usr/lib")

    pairs, refused = find_pairs(Roots.of(*roots, ARM64))

    assert pairs == []
    assert len(refused) == 3


def test_a_version_that_is_empty(roots: tuple[Path, Path]) -> None:
    (roots[1] / "usr/lib/go-1.99/VERSION").write_text("")

    with pytest.raises(InputError, match="is empty"):
        check_toolchain(*roots, "/usr/lib/go-1.99")
