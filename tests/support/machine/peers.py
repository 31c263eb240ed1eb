"""Programs that others wrote, started by hand: podman, and Debian's Docker engine, both without a home."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.machine.handlers import Enclave
from tests.support.machine.programs import Person

__all__ = ["Engine", "Podman", "docker_engine"]

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """Podman of root, with everything that it keeps below `directory`."""

    directory: Path
    who: Person

    def __call__(self, command: str, *words: str) -> str:
        """Run a command of podman and return what it printed."""
        places = [f"--{name}={self.directory}/{name}" for name in ("root", "runroot", "tmpdir")]
        kinds = ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"]
        return (
            self.who.run_other("podman", *places, *kinds, "--runtime=runc", command, *words)
            .check()
            .out
        )

    def environ(self) -> dict[str, str]:
        """Return variables by which a podman that somebody else starts keeps everything here, too."""
        settings = self.directory / "storage.conf"
        self.directory.mkdir(exist_ok=True)
        settings.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self.directory}/root"\n'
            f'runroot = "{self.directory}/runroot"\n'
        )
        return {"CONTAINERS_STORAGE_CONF": str(settings)}

    def run(self, image: str, *words: str) -> str:
        """Run an image; its limits are those that any machine grants."""
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
        return self("run", "--rm", "--network=none", *limits, *words, image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A running Docker engine."""

    address: str
    who: Person

    def __call__(self, *words: str) -> str:
        """Run a command of Docker's client against it and return what it printed."""
        return self.who.run_other("docker", f"--host={self.address}", *words).check().out

    def run(self, image: str) -> str:
        return self("run", "--rm", "--network=none", image)


@contextlib.contextmanager
def docker_engine(directory: Path, inside: Enclave, who: Person) -> Iterator[Engine]:
    """Run Debian's Docker engine for the time of the block, in an enclave, so that it emulates.

    All that it keeps is below `directory`, and it touches no network.
    """
    directory.mkdir(parents=True)
    socket = directory / "sock"
    words = [
        *("dockerd", "--rootless", "--bridge=none", "--iptables=false", "--ip-forward=false"),
        *("--storage-driver=vfs", f"--data-root={directory}/data", f"--exec-root={directory}/run"),
        *(f"--pidfile={directory}/pid", f"--host=unix://{socket}"),
    ]
    # Neither it nor runc can use the cgroups of a machine that is not theirs: runc takes that amiss of
    # root, so it must think that it is somebody else.
    environ = {**who.environment(), "USER": "somebody", "XDG_RUNTIME_DIR": str(directory)}
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [*inside.enter, *words], env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait(server, socket, directory / "log")
        yield Engine(address=f"unix://{socket}", who=who)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory / "data")


def _wait(server: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    """Wait until it listens and answers."""
    deadline = time.monotonic() + _PATIENCE
    ask = ["docker", f"--host=unix://{socket}", "version"]
    while subprocess.run(ask, check=False, capture_output=True, env=os.environ).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(log.read_text())
        time.sleep(0.05)
