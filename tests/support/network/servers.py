"""Real servers on free ports of the loopback interface: Debian's docker-registry, and git's own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tools.registry import RealRegistry, free_port, real_registry

__all__ = ["RealRegistry", "free_port", "git_daemon", "real_registry"]

_PATIENCE = 20.0


@contextlib.contextmanager
def git_daemon(directory: Path) -> Iterator[str]:
    """Serve the repositories in a directory by git's own protocol; gives the address of the directory."""
    port = free_port()
    # The program itself: git would start it as a child, and leave it behind when it is ended.
    where = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True)
    program = Path(where.stdout.strip()) / "git-daemon"
    options = [f"--base-path={directory}", "--export-all", "--listen=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(
        [program, *options],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
    )
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield f"git://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
