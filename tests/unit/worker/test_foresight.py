"""What is told of a step's programs before they are started."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.emulation.probe import probe_program
from polyarch.graph.op import ExecOp
from polyarch.platforms import linux
from polyarch.runtime.step import Bind
from polyarch.worker.foresight import foresee
from tests.support.machine.emulators import with_loader

FOREIGN = "/p is a program for linux/s390x, and this is linux/amd64"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name, data in (
        ("bin/sh", probe_program("amd64")),
        ("p", probe_program("s390x")),
        ("l", with_loader("amd64", "/lib/ld.so")),
        ("c", b"#!/bin/bash\n"),
        ("n", b"text\n"),
    ):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def told(
    root: Path, *argv: str, env: str = "A=1", mount: str = "/etc/hosts", runs: str = ""
) -> str:
    environment = (env, "PATH=/:/bin")
    op = ExecOp(argv=argv, env=environment, cwd="/", user="", platform=linux("amd64"))
    found = foresee(op, root, [Bind(source="/x", target=mount)], lambda each: each == runs)
    return "" if found is None else found.text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("/p",), FOREIGN),
        (("p",), FOREIGN),
        (("/l",), "/l needs the loader /lib/ld.so, which isn't there"),
        (("/c",), "/c is a script for /bin/bash, which isn't there"),
        (("/bin/sh", "-c", "/p --flag"), FOREIGN),
        (
            ("/bin/sh", "-c", "  ./p;x"),
            "/./p is a program for linux/s390x, and this is linux/amd64",
        ),
        (("sh", "-c", "/p"), FOREIGN),
        # These aren't certain.
        (("/n",), ""),
        (("/none",), ""),
        (("/bin/sh", "-c", "true; /p"), ""),
        (("/bin/sh", "-c", "/p$X"), ""),
        (("/bin/sh", "-c"), ""),
        (("/bin/echo", "-c", "/p"), ""),
    ],
)
def test_programs_that_cant_be_started(root: Path, argv: tuple[str, ...], said: str) -> None:
    assert told(root, *argv) == said


def test_what_runs_here_all_the_same(root: Path) -> None:
    assert told(root, "/p", runs="s390x") == ""


@pytest.mark.parametrize(("program", "mount"), [("/p", "/p"), ("/l", "/lib"), ("/c", "/bin")])
def test_what_a_mount_may_have(root: Path, program: str, mount: str) -> None:
    assert told(root, program, mount=mount) == ""


def test_loaders_somewhere_else(root: Path) -> None:
    assert told(root, "/l", env="QEMU_LD_PREFIX=/usr/arm") == ""
