"""The ssh agents of a request: sockets that are there already, and keys that get an agent of their own.

Keys are read when an agent is first asked for and handed to OpenSSH's ssh-agent through a pipe: they are in
its memory and never in a file of ours. The agent ends with the build; with the engine at the latest.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from polyarch.errors import InputError, MachineError
from polyarch.pattern import pattern
from polyarch.process import base_environment, run

__all__ = ["LARGEST_KEY", "Agents", "read_key"]

LARGEST_KEY = 100 << 10
"""In bytes, as with buildx."""
_PID = pattern(rb"SSH_AGENT_PID=([0-9]+)")


class Agents(Mapping[str, str]):
    """The sockets of agents by id; a context manager, which ends those that it started.

    `sockets` are there already, `keys` are files of private keys by id. `directory` names a fresh directory for
    the socket of an agent. Asking for one raises InputError for keys that can't be used, MachineError if
    there is no ssh-agent.
    """

    def __init__(
        self,
        sockets: Mapping[str, str],
        keys: Mapping[str, Sequence[str]],
        directory: Callable[[], Path],
    ) -> None:
        self._sockets = dict(sockets)
        self._keys = keys
        self._directory = directory
        self._started: list[int] = []
        self._lock = threading.Lock()

    def __getitem__(self, identifier: str) -> str:
        with self._lock:
            if identifier not in self._sockets:
                self._sockets[identifier] = self._start(self._keys[identifier])
            return self._sockets[identifier]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._keys, **self._sockets})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _start(self, paths: Sequence[str]) -> str:
        keys = [(path, read_key(path)) for path in paths]
        directory = self._directory()
        directory.mkdir(mode=0o700)
        # By a relative name: the kernel takes 107 bytes, and stores may lie deep.
        ended = run(("ssh-agent", "-s", "-a", "agent"), cwd=str(directory))
        pid = _PID.search(ended.stdout)
        if ended.status != 0 or pid is None:
            raise MachineError(
                f"no agent can be started for ssh keys: {ended}",
                hint="install OpenSSH's client, or give the socket of an agent with --ssh",
            )
        self._started.append(int(pid[1]))
        env = base_environment(SSH_AUTH_SOCK="agent", SSH_ASKPASS_REQUIRE="never")
        for path, key in keys:
            added = run(("ssh-add", "-q", "-"), env=env, stdin=key, cwd=str(directory))
            if added.status != 0:
                raise InputError(
                    f"failed to parse {path}: it is no private key without a passphrase",
                    hint="load it into an agent with ssh-add, and use that with --ssh",
                )
        return str(directory / "agent")


def read_key(path: str) -> bytes:
    """Return the content of a private key's file. Raises InputError."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(LARGEST_KEY + 1)
    except OSError as error:
        raise InputError(f"can't use {path} for ssh: {error.strerror}") from error
    if len(data) > LARGEST_KEY:
        raise InputError(f"{path} is larger than {LARGEST_KEY >> 10} KiB: that is no ssh key")
    return data if data.endswith(b"\n") else data + b"\n"
