"""Agents for keys: OpenSSH's own, started when first asked for, ended with the block."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.worker.keyagent import LARGEST_KEY, Agents, read_key


def make_key(path: Path, passphrase: str = "") -> str:
    words = (
        "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-C",
        path.name,
        "-N",
        passphrase,
        "-f",
        str(path),
    )
    subprocess.run(words, check=True)
    return str(path)


def listed(socket: str) -> list[str]:
    """The comments of the keys that an agent has."""
    ended = subprocess.run(
        ("ssh-add", "-L"), env={"SSH_AUTH_SOCK": socket}, capture_output=True, check=False
    )
    return [line.split()[2] for line in ended.stdout.decode().splitlines() if "ssh-" in line]


@pytest.fixture
def directory(tmp_path: Path) -> Callable[[], Path]:
    return lambda: tmp_path / "agent"


def test_an_agent_has_the_keys_of_its_id(tmp_path: Path, directory: Callable[[], Path]) -> None:
    paths = [make_key(tmp_path / name) for name in ("one", "two")]

    with Agents({"there": "/s"}, {"mine": paths}, directory) as agents:
        found = agents.get("mine", "")
        assert listed(found) == ["one", "two"]
        assert agents["mine"] == found
        assert (agents.get("there"), agents.get("none"), len(agents)) == ("/s", None, 2)
    assert listed(found) == []


def test_nothing_is_started_that_nobody_asks_for(directory: Callable[[], Path]) -> None:
    with Agents({}, {"mine": ["/no/key"]}, directory):
        pass

    assert not directory().exists()


def test_a_key_with_a_passphrase(tmp_path: Path, directory: Callable[[], Path]) -> None:
    path = make_key(tmp_path / "key", "locked")

    with (
        Agents({}, {"mine": [path]}, directory) as agents,
        pytest.raises(InputError, match="key: it is no private key without a passphrase"),
    ):
        agents["mine"]


def test_a_file_that_is_too_large_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x" * (LARGEST_KEY + 1))

    with pytest.raises(InputError, match="key is larger than 100 KiB: that is no ssh key"):
        read_key(str(tmp_path / "key"))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InputError, match="can't use /no/key for ssh: No such file"):
        read_key("/no/key")
