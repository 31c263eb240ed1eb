"""Steps that nobody answers for: the engine is told why."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from polyarch.errors import NoRuntime
from polyarch.runtime.sandbox.exchange import how_it_ended
from polyarch.runtime.sandbox.plan import INTO_CGROUP, KEPT, PLAIN
from polyarch.runtime.sandbox.serving import serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    pid: int
    requests: socket.socket

    def start_keeper(self, where: bytes, *more: int) -> socket.socket:
        """Have a keeper started; return the engine's end of its socket."""
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        with theirs, tempfile.TemporaryFile() as output:
            descriptors = [theirs.fileno(), output.fileno(), output.fileno(), *more]
            socket.send_fds(self.requests, [KEPT + where], descriptors)
        return ours

    def children(self) -> list[int]:
        words = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(word) for word in words]


@pytest.fixture
def serving() -> Iterator[Serving]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            serve(theirs)
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        yield Serving(pid=pid, requests=ours)
    os.waitpid(pid, 0)


def answer_of(control: socket.socket) -> bytes:
    with control:
        return b"".join(iter(lambda: control.recv(4096), b""))


def test_a_process_that_cannot_be_started_is_explained(serving: Serving, tmp_path: Path) -> None:
    no_cgroup = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    answer = answer_of(serving.start_keeper(INTO_CGROUP, no_cgroup))
    os.close(no_cgroup)

    with pytest.raises(NoRuntime, match="no process can be started for a step: Bad file descr"):
        how_it_ended(answer, False, lambda _stream, _data: None)


def test_a_killed_keeper_is_told_of(serving: Serving) -> None:
    control = serving.start_keeper(PLAIN)
    while not serving.children():
        pass
    os.kill(serving.children()[0], signal.SIGKILL)

    answer = answer_of(control)

    with pytest.raises(NoRuntime, match="the process that minds the step was killed by signal 9"):
        how_it_ended(answer, False, lambda _stream, _data: None)
    assert how_it_ended(answer, True, lambda _stream, _data: None).out_of_memory


def test_a_spawner_that_is_gone_is_told_of() -> None:
    with pytest.raises(NoRuntime, match="the process that starts steps has ended"):
        how_it_ended(b"", False, lambda _stream, _data: None)
