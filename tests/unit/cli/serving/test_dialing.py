"""`dial-stdio` with a builder of another machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.machine.commands import call


def test_a_client_speaks_with_the_builder_s_daemon(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "POLYARCH_ROOT": str(tmp_path / "store")}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "d.sock"))
        listening.listen()
        listening.settimeout(60)
        call("create", "--driver=remote", "--name=b", f"unix://{tmp_path}/d.sock", environ=environ)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(connection.recv(99)[::-1])

        thread = threading.Thread(target=answer)
        thread.start()
        ended = subprocess.run(
            [sys.executable, "-m", "polyarch", "dial-stdio", "--builder=b", "--progress=auto"],
            input=b"preface",
            capture_output=True,
            check=False,
            env={**os.environ, **environ},
        )
        thread.join()

    assert (ended.returncode, ended.stdout) == (0, b"ecaferp"), ended.stderr
    assert ended.stderr == b"#0 builder: b\n"
