"""Programs beside a step that runs: in its root and its namespaces, confined as it is, and no longer than it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine.engines import User, in_engine

pytestmark = [pytest.mark.runtime, pytest.mark.root]

BESIDE = """
import signal, threading

class First:
    def __init__(self):
        self.heard, self.writer = os.pipe()
        self.is_there = threading.Event()
        self.thread = threading.Thread(target=self.go)
        self.thread.start()
        self.is_there.wait()

    def note(self, process):
        self.process = os.dup(process)

    def go(self):
        talk = Talk(stdin=self.heard, on_started=self.note)
        told = lambda stream, data: self.is_there.set()
        self.ended = run("sh", "-c", "echo kept | tee /tmp/kept; cat; exit 3", talk=talk, on_output=told)

first = First()
def beside(script, **more):
    return run("sh", "-c", script, talk=Talk(beside=first.process, **more))
"""


def test_beside_a_step(user: User, rootfs_of: Callable[..., Path]) -> None:
    script = f"""{BESIDE}
looks = "cat /tmp/kept; cat /proc/1/comm; grep -E '^(CapEff|Seccomp):' /proc/self/status; ls /proc/self/fd"
seen = beside(looks)
terminal = beside("test -t 0 && tty", terminal=(24, 80))
failed = beside("exit 7")
missing = run("nowhere", talk=Talk(beside=first.process))

started = threading.Event()
late = threading.Thread(target=lambda: late_ends.append(beside("echo; sleep 100", on_started=lambda _: started.set())))
late_ends = []
late.start()
started.wait()
os.close(first.writer)
first.thread.join()
late.join()
report([seen, terminal, failed, missing, first.ended, late_ends[0]])
"""
    rootfs = rootfs_of(user)
    found: list[dict[str, Any]] = in_engine(user, script, runtime="sandbox", rootfs=str(rootfs))
    seen, terminal, failed, missing, first, late = found

    lines = seen["stdout"].splitlines()
    assert lines[:2] == ["kept", "sh"]
    assert dict(line.split(":\t") for line in lines[2:4]) == {
        "CapEff": "00000000a80425fb",
        "Seccomp": "2",
    }
    assert terminal["stdout"].startswith("/dev/pts/")
    assert failed["status"] == 7
    assert missing["refused"] == 'exec: "nowhere": executable file not found in $PATH'
    assert first["status"] == 3
    assert late["status"] == 128 + 9


def test_a_signal(user: User, rootfs_of: Callable[..., Path]) -> None:
    script = f"""{BESIDE}
process = []
def answer(stream, data):
    signal.pidfd_send_signal(process[0], signal.SIGHUP)
waits = "trap 'exit 5' HUP; echo ready; while :; do sleep 0.01; done"
talk = Talk(beside=first.process, on_started=lambda each: process.append(os.dup(each)))
ended = run("sh", "-c", waits, on_output=answer, talk=talk)
os.close(first.writer)
first.thread.join()
report(ended["status"])
"""
    found = in_engine(user, script, runtime="sandbox", rootfs=str(rootfs_of(user)))

    assert found == 5


def test_other_runtimes_say_so(user_with_many_ids: User, rootfs_of: Callable[..., Path]) -> None:
    script = """
try:
    run("true", talk=Talk(on_started=lambda _: None))
except Exception as error:
    report([type(error).__name__, str(error)])
"""
    rootfs = rootfs_of(user_with_many_ids)
    found = in_engine(user_with_many_ids, script, runtime="runc", rootfs=str(rootfs))

    assert found == [
        "NoRuntime",
        "containers that several programs run in can't be had with runc",
    ]
