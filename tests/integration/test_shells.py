"""The completion scripts in the shells that they are for, and docker's own through its client."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.engines import SOURCE

pytestmark = pytest.mark.slow

LINES = {
    "polyarch buil": {"build"},
    "polyarch imagetools ins": {"inspect"},
    "polyarch build --progress ra": {"rawjson"},
    "polyarch build --platform=linux/riscv": {"--platform=linux/riscv64"},
    "polyarch build --platform linux/amd64,linux/riscv": {"linux/amd64,linux/riscv64"},
    "polyarch build fol": {"directory"},
    "polyarch build -f fil": {"file"},
    "polyarch build --iidfile=fil": {"--iidfile=file"},
}
# Debian has all three; a shell that isn't installed has nothing to be tested with.
OTHERS = [shell for shell in ("fish", "zsh") if shutil.which(shell)]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A directory with a file and a directory, and polyarch on PATH."""
    work = tmp_path / "work"
    (work / "directory").mkdir(parents=True)
    (work / "file").touch()
    program = tmp_path / "bin/polyarch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -B -m polyarch "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(SOURCE),
        "HOME": str(tmp_path),
        "POLYARCH_ROOT": str(tmp_path / "store"),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "PWD": str(work),
    }


def run(argv: list[str], environ: dict[str, str]) -> str:
    ended = subprocess.run(
        argv,
        env=environ,
        cwd=environ["PWD"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.stderr == b""
    return ended.stdout.decode()


def whole(line: str, candidates: list[str]) -> set[str]:
    """Return words as they stand on the command line: bash completes what is behind a `=`."""
    word = line.rpartition(" ")[2]
    head = word[: word.rfind("=") + 1]
    return {each if each.startswith(head) else head + each for each in candidates}


def test_bash(environ: dict[str, str]) -> None:
    script = (
        "source <(polyarch completion bash); ask() { COMP_LINE=$1; COMP_POINT=${#1}; COMPREPLY=();"
        ' _polyarch; echo "${COMPREPLY[*]}"; }; '
    )
    asked = "; ".join(f"ask '{line}'" for line in LINES)
    answers = run(["bash", "--norc", "-c", script + asked], environ).splitlines()

    found = {line: whole(line, answer.split()) for line, answer in zip(LINES, answers, strict=True)}
    assert found == LINES


@pytest.mark.parametrize("shell", [each for each in OTHERS if each == "fish"])
def test_fish(shell: str, environ: dict[str, str]) -> None:
    asked = "; ".join(f"complete -C '{line}'; echo ." for line in LINES)
    script = f"polyarch completion fish | source; {asked}"
    answers = run([shell, "--no-config", "-c", script], environ).split("\n.\n")

    found = {
        line: {word.partition("\t")[0].rstrip("/") for word in answer.splitlines()}
        for line, answer in zip(LINES, answers, strict=False)
    }
    assert found == LINES


@pytest.fixture
def terminal(environ: dict[str, str]) -> Iterator[int]:
    """The other end of a terminal at which zsh sits."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(environ["PWD"])
        os.execvpe("zsh", ["zsh", "-f", "-i"], environ)
    try:
        yield terminal
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def type_in(terminal: int, text: str, expected: str) -> str:
    """Type, and read until what is expected is there, or nothing comes any more."""
    os.write(terminal, text.encode())
    read = b""
    while expected.encode() not in read and select.select([terminal], [], [], 20)[0]:
        read += os.read(terminal, 4096)
    return read.decode()


@pytest.mark.parametrize("shell", [each for each in OTHERS if each == "zsh"])
def test_zsh(shell: str, terminal: int) -> None:
    setup = "autoload -Uz compinit; compinit -D; source <(polyarch completion zsh); print re''ady\n"
    assert "ready\r" in type_in(terminal, setup, "ready\r")
    for line, words in LINES.items():
        (word,) = words
        rest = word.removeprefix(line.rpartition(" ")[2])
        screen = type_in(terminal, f"\x15{line}\t", rest)

        assert rest in screen, (line, screen)


def docker_that_completes_plugins() -> list[str]:
    """Return docker's client, unless it is older than 23 (Debian 12's is), which first asked plugins."""
    docker = shutil.which("docker")
    if not docker:
        return []
    told = subprocess.run([docker, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)", told)
    return [docker] if version and int(version[1]) >= 23 else []


@pytest.mark.parametrize("shell", docker_that_completes_plugins())
def test_docker_completes_its_plugin(shell: str, environ: dict[str, str]) -> None:
    config = {**environ, "DOCKER_CONFIG": f"{environ['HOME']}/docker"}
    installed = subprocess.run(
        ["polyarch", "plugin", "install"], env=config, capture_output=True, check=True, timeout=60
    )
    assert installed.stdout.endswith(b"docker-buildx\n")

    assert run([shell, "__complete", "buildx", "bui"], config) == "build\tStart a build\n:4\n"
