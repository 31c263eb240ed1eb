"""Emulators of images in a store: which there are, and when they were used."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from polyarch.digest import Digest, hex_of, sha256
from polyarch.emulation.facts import Facts
from polyarch.emulation.kept import (
    DEFAULT_IMAGE,
    KEPT_DIRECTORY,
    KeptEmulators,
    all_kept,
    emulator_image,
    find_kept,
    note_use,
    write_origin,
)
from polyarch.emulation.qemu import find_emulator, find_emulators
from tests.support.machine.emulators import fake_qemu

DAY = 24 * 3600.0


def keep(root: Path, name: str, *addresses: str, version: str = "9.1.0", used: float = 0) -> Digest:
    """Keep an emulator for arm64 that says that it is of this version."""
    digest = sha256(name.encode())
    directory = root / KEPT_DIRECTORY / hex_of(digest)
    fake_qemu(directory / "qemu-aarch64", version)
    write_origin(directory, digest, addresses)
    when = used or time.time()
    os.utime(directory, (when, when))
    return digest


def test_what_is_kept(tmp_path: Path) -> None:
    now = time.time()
    older = keep(tmp_path, "older", "example/qemu:9", used=now - DAY)
    newer = keep(tmp_path, "newer", "example/qemu:10", "example/qemu:latest", used=now)

    assert [each.digest for each in all_kept(tmp_path)] == [newer, older]
    found = find_kept(tmp_path, "example/qemu:9")
    assert found is not None
    assert (found.digest, found.origin) == (older, f"example/qemu:9@{older}")
    assert find_kept(tmp_path, "example/qemu:8") is None


def test_what_is_not_whole_is_left_alone(tmp_path: Path) -> None:
    digest = keep(tmp_path, "one", "example/qemu")
    directory = tmp_path / KEPT_DIRECTORY
    for name, text in (
        ("x", "{}"),
        ("y", "no JSON"),
        ("z", '{"images": [], "digest": "sha256:1"}'),
    ):
        (directory / name).mkdir()
        (directory / name / "origin.json").write_text(text)
    (directory / hex_of(digest)).rename(directory / hex_of(sha256(b"other")))

    assert all_kept(tmp_path) == ()
    assert all_kept(tmp_path / "nowhere") == all_kept(None) == ()


@pytest.mark.parametrize(
    ("environ", "image"),
    [
        ({}, DEFAULT_IMAGE),
        ({"POLYARCH_QEMU_IMAGE": ""}, DEFAULT_IMAGE),
        ({"POLYARCH_QEMU_IMAGE": "none"}, ""),
        ({"POLYARCH_QEMU_IMAGE": "oci-layout:///srv/qemu"}, "oci-layout:///srv/qemu"),
    ],
)
def test_the_image_that_is_asked_for(environ: dict[str, str], image: str) -> None:
    assert emulator_image(environ) == image


def test_a_use_is_noted_once_in_a_while(tmp_path: Path) -> None:
    keep(tmp_path, "one", "example/qemu", used=time.time() - DAY)
    (kept,) = all_kept(tmp_path)

    note_use(str(kept.directory / "qemu-aarch64"))
    first = all_kept(tmp_path)[0].used
    note_use(str(kept.directory / "qemu-aarch64"))
    note_use("/usr/bin/qemu-aarch64-static")

    assert first > time.time() - DAY / 2
    assert all_kept(tmp_path)[0].used == first


def test_the_configured_image_serves_and_others_are_there_besides(tmp_path: Path) -> None:
    keep(tmp_path, "other", "example/other", version="9.2.0")
    keep(tmp_path, "wanted", "example/qemu", version="10.0.0")
    environ = {"POLYARCH_QEMU_IMAGE": "example/qemu", "PATH": ""}
    facts = Facts(tmp_path)

    machines = list(find_emulators("arm64", Facts(None), environ))
    found = [each for each in find_emulators("arm64", facts, environ) if each not in machines]
    every = [
        each.version
        for each in find_emulators("arm64", facts, environ, every=True)
        if each not in machines
    ]

    assert [each.version for each in found] == [(10, 0)]
    assert found[0].origin.startswith("example/qemu@sha256:")
    assert every == [(10, 0), (9, 2)]


def test_what_the_machine_has_comes_first(tmp_path: Path) -> None:
    keep(tmp_path, "wanted", "example/qemu", version="10.0.0")
    fake_qemu(tmp_path / "bin/qemu-aarch64", "8.0.0")
    environ = {"POLYARCH_QEMU_IMAGE": "example/qemu", "PATH": str(tmp_path / "bin")}

    found = find_emulator("arm64", Facts(tmp_path), environ)

    assert found is not None
    assert (found.version, found.origin) == ((8, 0), "$PATH")


def test_an_image_without_a_name_has_its_digest() -> None:
    digest = sha256(b"one")

    kept = KeptEmulators(directory=Path("/x"), addresses=(), digest=digest, used=0)

    assert kept.origin == f"an image@{digest}"
