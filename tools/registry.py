"""A real registry, Debian's docker-registry, on the loopback interface."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RealRegistry", "free_port", "real_registry"]

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealRegistry:
    """Where it is, what it has written and where it keeps things."""

    host: str
    log: Path
    directory: Path

    def requests(self) -> list[str]:
        """Return what it was asked so far, as `METHOD path`."""
        lines = self.log.read_text(errors="replace").splitlines()
        asked = [line.split('"') for line in lines if '"' in line and " HTTP/1" in line]
        return [parts[1].rpartition(" ")[0] for parts in asked]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def real_registry(
    directory: Path,
    more: str = "",
    environ: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[RealRegistry]:
    """Serve what `directory` holds for the time of the block, on a free port if none is named.

    `more` is added to its configuration, below `http`. Raises RuntimeError with its log if it doesn't start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = directory / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: false}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, delete: {{enabled: true}}}}\n"
        f"http:\n  addr: '127.0.0.1:{port}'\n{more}"
    )
    log = directory / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["docker-registry", "serve", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environ or {}),
            # An interrupt at the terminal is for who uses the registry: they may want it to the end.
            start_new_session=True,
        )
    try:
        _wait(port, server, log)
        yield RealRegistry(host=f"127.0.0.1:{port}", log=log, directory=directory / "data")
    finally:
        server.terminate()
        server.wait()


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it answers; any answer will do, even one that refuses."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"docker-registry doesn't start: {log.read_text()}") from error
            time.sleep(0.02)
