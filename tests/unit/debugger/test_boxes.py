"""Programs of a monitor, in containers that are none."""

from __future__ import annotations

import queue

from polyarch.debugger.boxes import Boxes, Invoke
from polyarch.debugger.node import Node, Program
from polyarch.debugger.tour import Stop
from tests.support.debugging.containers import Hands

SIZE = (24, 80)
STOP = Stop(node=Node(key="k", name="n"), depth=0)


def test_programs_run_in_one_container_until_that_begins_anew() -> None:
    hands, ended = Hands(), queue.Queue[None]()
    boxes = Boxes(hands, STOP, is_failed=True, ended=lambda: ended.put(None))
    shown: queue.Queue[bytes] = queue.Queue()
    invoke = Invoke(env=("B=2",), cwd="/")

    first = boxes.start(invoke, SIZE, shown.put, fresh=True, initial=False)
    seen = [shown.get()]
    boxes.start(invoke.running(("env",)), SIZE, shown.put, fresh=False, initial=False)
    seen.append(shown.get())
    ended.get()
    listed = boxes.listed()
    boxes.attach(first)
    attached = boxes.listed()
    boxes.start(invoke, SIZE, shown.put, fresh=True, initial=True)
    seen.append(shown.get())
    boxes.close()

    assert seen == [b"sh", b"env", b"sh"]
    assert listed == [(first, False, ("sh",))]
    assert attached == [(first, True, ("sh",))]
    assert hands.opened == [True, False]
    program = Program(argv=("env",), env=("A=1", "B=2"), cwd="/", user="me")
    assert hands.container.ran[1] == (program, False)
    assert boxes.complaints() == []


def test_a_program_that_isnt_there_is_told_of() -> None:
    ended: queue.Queue[None] = queue.Queue()
    boxes = Boxes(Hands(), STOP, is_failed=False, ended=lambda: ended.put(None))

    invoke = Invoke(argv=("missing",))
    boxes.start(invoke, SIZE, lambda _: None, fresh=True, initial=False)
    ended.get()

    assert boxes.attached is None
    assert (boxes.complaints(), boxes.complaints()) == (["no such program"], [])
    boxes.close()
