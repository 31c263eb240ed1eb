"""The monitor at a terminal, over containers that are none."""

from __future__ import annotations

import os
import pty
import select
import threading
from collections.abc import Callable, Sequence

import pytest

from polyarch.debugger.boxes import Invoke
from polyarch.debugger.hands import Goal
from polyarch.debugger.monitor import Monitor
from polyarch.debugger.node import Input, Node
from polyarch.errors import Cancelled, PolyarchError, StepFailed
from polyarch.graph.location import Location, SourceText
from polyarch.progress import CancelToken
from polyarch.threads import caught
from tests.support.debugging.containers import Hands

PLACE = Location(source=SourceText(name="Dockerfile", text=""), start=1, end=1)
NODE = Node(key="k", name="RUN x", location=PLACE)


class Failing(Hands):
    """A build of one step, which fails if it is to."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self._fails = fails

    def build(self, inputs: Sequence[Input]) -> None:
        del inputs
        if self._fails:
            raise StepFailed("step failed", place=PLACE)


class Sitting:
    """Somebody before a monitor, which runs in a thread."""

    def __init__(self, invoke: Invoke, *, fails: bool) -> None:
        self._master, self._slave = pty.openpty()
        self.shown = ""
        self.told: list[str] = []
        self.cancel = CancelToken()
        self.error: BaseException | None = None
        self.monitor = Monitor(invoke, self._slave, self._slave, self._tell)
        self.monitor.attend(self.cancel)
        goal = Goal(name="default", node=NODE, hands=Failing(fails=fails), paths={}, texts={})
        self._thread = threading.Thread(
            target=self._debug, args=(lambda: self.monitor.debug([goal]),)
        )
        self._thread.start()

    def _tell(self, error: PolyarchError) -> None:
        self.told.append(str(error))

    def _debug(self, debug: Callable[[], None]) -> None:
        self.error = caught(debug)

    def expect(self, text: str) -> None:
        while text not in self.shown:
            assert select.select([self._master], [], [], 30)[0], self.shown
            self.shown += os.read(self._master, 4096).decode()
        self.shown = self.shown.partition(text)[2]

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def end(self) -> BaseException | None:
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)
        return self.error


def test_a_failed_step_is_looked_at_and_fails() -> None:
    sitting = Sitting(Invoke(), fails=True)

    sitting.expect("Press Ctrl-a-c to switch to monitor console\r\n")
    sitting.expect("sh")
    sitting.type(b"\x01c")
    sitting.expect("Switched IO\r\n(polyarch) ")
    sitting.type(b"help rollback\rhelp\rattach\rattach x\rexec\r'\rps\r")
    sitting.expect("rollback [--init] [COMMAND] [ARG...]\r\n")
    sitting.expect("Available commands are:\r\n")
    sitting.expect("monitor: PID of process must be passed\r\n")
    sitting.expect("monitor: pid x: not found\r\n")
    sitting.expect("monitor: command must be passed\r\n")
    sitting.expect("monitor: No closing quotation\r\n")
    sitting.expect("\ttrue\t[sh]\r\n")
    sitting.type(b"rollback --init env\r")
    sitting.expect("Interactive container was restarted with process ")
    sitting.type(b"\x01c")
    sitting.expect("(polyarch) ")
    sitting.type(b"exit\r")

    assert isinstance(sitting.end(), StepFailed)
    assert sitting.told == ["step failed"]


@pytest.mark.parametrize("always", [True, False])
def test_results_are_looked_at_if_that_is_wanted(always: bool) -> None:
    sitting = Sitting(Invoke(argv=("missing",), always=always), fails=False)

    if always:
        sitting.expect("ERROR: no such program\r\n(polyarch) ")
        sitting.type(b"\x01c")
        sitting.expect("Process isn't attached")
        sitting.type(b"rollback --init\r")
        sitting.expect("monitor: only a step that failed has an initial state\r\n")
        sitting.type(b"\x04")

    assert sitting.end() is None
    assert sitting.told == []


def test_a_build_may_begin_anew_or_be_cancelled() -> None:
    anew, cancelled = Sitting(Invoke(), fails=True), Sitting(Invoke(), fails=True)
    for each in (anew, cancelled):
        each.expect("sh")
        each.type(b"\x01c")
        each.expect("(polyarch) ")

    anew.type(b"reload\r")
    cancelled.cancel.cancel()

    assert isinstance(anew.end(), Cancelled)
    assert isinstance(cancelled.end(), Cancelled)
    assert (anew.monitor.take_reload(), anew.monitor.take_reload()) == (True, False)
    assert not cancelled.monitor.take_reload()
