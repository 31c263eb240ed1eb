"""Why programs of a root can't be started; steps that meet them are in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.emulation.probe import probe_program
from polyarch.emulation.program import Surroundings, find_trouble, find_trouble_in_output
from polyarch.platforms import parse
from tests.support.machine.emulators import with_loader

GLIBC = "/lib64/ld-linux-x86-64.so.2"


def where(root: Path, platform: str = "linux/amd64") -> Surroundings:
    return Surroundings(root=root, platform=parse(platform), cwd="/w", path="/bin:/sbin")


def put(root: Path, name: str, data: bytes, mode: int = 0o755) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


def text(root: Path, program: str, platform: str = "linux/amd64") -> str:
    trouble = find_trouble(program, where(root, platform))
    return "" if trouble is None else trouble.text


@pytest.mark.parametrize(
    ("made_for", "platform", "said"),
    [
        ("amd64", "linux/amd64", ""),
        ("386", "linux/amd64", ""),
        ("arm", "linux/arm64", ""),
        ("amd64", "linux/386", "/bin/p is a program for linux/amd64, and this is linux/386"),
        ("arm64", "linux/arm/v7", "/bin/p is a program for linux/arm64, and this is linux/arm/v7"),
        ("s390x", "linux/amd64", "/bin/p is a program for linux/s390x, and this is linux/amd64"),
    ],
)
def test_machines(tmp_path: Path, made_for: str, platform: str, said: str) -> None:
    put(tmp_path, "bin/p", probe_program(made_for))

    assert text(tmp_path, "p", platform) == said


def test_a_loader_through_a_link_of_the_root(tmp_path: Path) -> None:
    put(tmp_path, "sbin/p", with_loader("amd64", GLIBC))
    missing = text(tmp_path, "p")
    put(tmp_path, "usr/lib64/ld-linux-x86-64.so.2", b"x")
    (tmp_path / "lib64").symlink_to("/usr/lib64")

    assert missing == f"/sbin/p needs the loader {GLIBC}, which isn't there"
    assert text(tmp_path, "p") == ""


def test_paths_are_relative_to_the_working_directory(tmp_path: Path) -> None:
    put(tmp_path, "w/p", b"")

    assert text(tmp_path, "./p") == "/w/./p is empty"
    assert text(tmp_path, "../nowhere/p") == ""


def test_scripts_that_name_one_another_end(tmp_path: Path) -> None:
    put(tmp_path, "bin/a", b"#!/bin/b\n")
    put(tmp_path, "bin/b", b"#!/bin/a\n")

    assert text(tmp_path, "a") == ""


@pytest.mark.parametrize(
    "line",
    [
        "/bin/sh: 1: /bin/p: Exec format error",
        "/bin/bash: line 1: /bin/p: cannot execute binary file: Exec format error",
        '/bin/p: 1: Syntax error: word unexpected (expecting ")")',
        "/bin/sh: p: not found",
    ],
)
def test_what_shells_complain_of(tmp_path: Path, line: str) -> None:
    put(tmp_path, "bin/p", probe_program("arm64"))
    put(tmp_path, "bin/sh", probe_program("amd64"))

    trouble = find_trouble_in_output(
        ["compiling", line, "make: *** [all] Error 1"], where(tmp_path)
    )

    assert trouble is not None
    assert trouble.text == "/bin/p is a program for linux/arm64, and this is linux/amd64"


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("p.conf: syntax error in line 3", 0o755),
        ("cat: /bin/p: No such file or directory", 0o644),
        ("/bin/p was copied", 0o755),
    ],
)
def test_what_has_other_reasons(tmp_path: Path, line: str, mode: int) -> None:
    put(tmp_path, "bin/p", probe_program("arm64"), mode)
    put(tmp_path, "w/p.conf", b"text")

    assert find_trouble_in_output([line], where(tmp_path)) is None
