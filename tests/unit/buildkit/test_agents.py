"""Agents and keys that are lent to daemons."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

import pytest

from polyarch.buildkit.agents import LentAgents
from polyarch.errors import InputError

_LIST, _LISTED, _REMOVE_ALL, _FAILURE = 11, 12, 19, 5


def ask(path: str, kind: int) -> bytes:
    """Send an agent a request without a content; return its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(struct.pack(">IB", 1, kind))
        (length,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
        return connection.recv(length, socket.MSG_WAITALL)


def test_keys_get_an_agent_that_daemons_can_not_change(tmp_path: Path) -> None:
    key = tmp_path / "key"
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", str(key))
    subprocess.run(words, check=True)

    with LentAgents({}, {"default": (str(key),)}, tmp_path) as agents:
        path = agents["default"]
        removed = ask(path, _REMOVE_ALL)
        listed = ask(path, _LIST)

    assert removed == bytes([_FAILURE])
    assert (listed[0], int.from_bytes(listed[1:5])) == (_LISTED, 1)
    assert b"mine" in listed
    assert list(agents) == ["default"]
    with pytest.raises(OSError, match=r"refused|No such"):
        ask(path, _LIST)


def test_a_key_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    with (
        LentAgents({}, {"default": (str(tmp_path / "key"),)}, tmp_path) as agents,
        pytest.raises(InputError, match="failed to parse"),
    ):
        agents["default"]
