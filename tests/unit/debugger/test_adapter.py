"""The adapter, with an editor at a pipe and a build that is nothing but results."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from polyarch.debugger.adapter import Adapter, Launch
from polyarch.debugger.hands import Files, Goal, Shell
from polyarch.debugger.link import Link
from polyarch.debugger.node import Input, Node
from polyarch.debugger.tour import Stop
from polyarch.errors import Cancelled, InputError, StepFailed
from polyarch.graph.location import Location, SourceText
from polyarch.progress import CancelToken
from polyarch.threads import caught

SOURCE = SourceText(name="Dockerfile", text="FROM a\nRUN b\nRUN c\n")


def stage() -> Node:
    found: Node | None = None
    for line in (1, 2, 3):
        given = (Input(node=found, label="/"),) if found is not None else ()
        found = Node(
            key=str(line),
            name=f"step {line}",
            inputs=given,
            parent=len(given) - 1,
            location=Location(source=SOURCE, start=line, end=line),
        )
    assert found is not None
    return found


class Hands:
    """Builds by noting what was built; one step may fail."""

    def __init__(self, fails: str = "") -> None:
        self.built: list[str] = []
        self._fails = fails

    def build(self, inputs: Sequence[Input]) -> None:
        for each in inputs:
            if self._fails and int(each.node.key) >= int(self._fails):
                raise StepFailed(f"step {self._fails} failed")
            self.built.append(each.node.key)

    def files(self, wanted: Input) -> Files:
        raise InputError(f"no files of {wanted.label}")

    def failed(self) -> str:
        return self._fails

    def left(self) -> Mapping[str, Files]:
        return {}

    @contextmanager
    def shell(self, stop: Stop, cancel: CancelToken, *, is_failed: bool = False) -> Iterator[Shell]:
        raise InputError(f"no shell at {stop.node.name}")
        yield


class Session:
    """An adapter in this process, and its editor."""

    def __init__(self, hands: Hands) -> None:
        theirs, self._keys = os.pipe()
        heard, ours = os.pipe()
        self._ours = ours
        self._stream = os.fdopen(heard, "rb")
        self.adapter = Adapter(Link(theirs, ours), ("attach",))
        self.hands = hands
        self.cancel = CancelToken()
        self.error: BaseException | None = None
        self._seq = 0
        self._builder = threading.Thread(target=self._build)

    def _build(self) -> None:
        goal = Goal(
            name="default",
            node=stage(),
            hands=self.hands,
            paths={"Dockerfile": "/w/Dockerfile"},
            texts={"/w/Dockerfile": SOURCE.text},
        )
        self.error = caught(lambda: self._debug(goal))
        self.adapter.ended(0 if self.error is None else 1)
        os.close(self._ours)

    def _debug(self, goal: Goal) -> None:
        self.adapter.launched(lambda _: None)
        self.adapter.attend(self.cancel)
        self.adapter.debug([goal])

    def start(self) -> None:
        self._builder.start()

    def send(self, command: str, **arguments: object) -> None:
        self._seq += 1
        message = {"seq": self._seq, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(message).encode()
        os.write(self._keys, b"Content-Length: %d\r\n\r\n%s" % (len(data), data))

    def receive(self) -> dict[str, Any]:
        length = int(self._stream.readline().partition(b":")[2])
        self._stream.readline()
        message = json.loads(self._stream.read(length))
        assert isinstance(message, dict)
        return message

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        self.send(command, **arguments)
        while (message := self.receive())["type"] != "response":
            pass
        assert message["command"] == command
        return message

    def event(self, name: str) -> dict[str, Any]:
        while (message := self.receive()).get("event") != name:
            pass
        body = message.get("body", {})
        assert isinstance(body, dict)
        return body

    def launch(self, *lines: int, **launch: object) -> None:
        self.start()
        assert self.ask("initialize")["success"]
        assert self.ask("launch", **launch)["success"]
        self.event("initialized")
        wanted = [{"line": each} for each in lines]
        self.ask("setBreakpoints", source={"path": "/w/Dockerfile"}, breakpoints=wanted)
        assert self.ask("configurationDone")["success"]

    def lines(self) -> list[int]:
        return [e["line"] for e in self.ask("stackTrace", threadId=1)["body"]["stackFrames"]]

    def close(self) -> None:
        """End what was never begun."""
        os.close(self._ours)
        os.close(self._keys)
        self._stream.close()

    def end(self) -> BaseException | None:
        self._builder.join()
        os.close(self._keys)
        self._stream.close()
        return self.error


def test_a_build_is_walked_through() -> None:
    session = Session(Hands())
    session.launch(2, stopOnEntry=True)

    seen = []
    for move in ("continue", "next", "stepIn", "next"):
        reason = session.event("stopped")["reason"]
        seen.append((reason, session.lines(), list(session.hands.built)))
        assert session.ask(move, threadId=1)["success"]
    exited = session.event("exited")["exitCode"]

    assert seen == [
        ("step", [1], []),
        ("breakpoint", [2], ["1"]),
        ("step", [3], ["1", "2"]),
        ("step", [3], ["1", "2", "3"]),
    ]
    assert (session.end(), exited) == (None, 0)


def test_a_step_that_fails_is_stopped_at() -> None:
    session = Session(Hands(fails="2"))
    session.launch()

    stopped = session.event("stopped")
    lines = session.lines()
    session.ask("continue", threadId=1)
    exited = session.event("exited")["exitCode"]

    assert (stopped["reason"], stopped["text"], lines) == ("exception", "step 2 failed", [2])
    assert isinstance(session.end(), StepFailed)
    assert exited == 1


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("initialize", {}, "already initialized"),
        (
            "pause",
            {"threadId": 1},
            "pause: a step can't be stopped; set a breakpoint at the next one",
        ),
        ("stackTrace", {"threadId": 9}, "no such thread: 9"),
        ("scopes", {"frameId": 99}, "no such frame id: 99"),
        ("variables", {"variablesReference": "x"}, "variables: variablesReference is no number"),
        ("variables", {"variablesReference": 9 << 24}, "no such thread: 9"),
        ("source", {"source": {"path": "/etc/passwd"}}, "file not found: /etc/passwd"),
        ("setBreakpoints", {}, "setBreakpoints: source.path isn't given"),
        (
            "setBreakpoints",
            {"source": {"path": "/w"}, "breakpoints": [{}]},
            "setBreakpoints: the line of a breakpoint is no number",
        ),
        (
            "evaluate",
            {"context": "watch", "expression": "x"},
            "unsupported evaluate context: watch",
        ),
        ("evaluate", {"expression": "'"}, "cannot parse expression: No closing quotation"),
        ("evaluate", {"expression": "ls"}, 'unknown command "ls"; help says which there are'),
        ("evaluate", {"expression": "exec"}, "cannot exec without runInTerminal client capability"),
        ("restart", {}, "restart: not implemented"),
    ],
)
def test_what_cant_be_done_is_answered(
    command: str, arguments: dict[str, object], message: str
) -> None:
    session = Session(Hands())
    session.launch(stopOnEntry=True)
    session.event("stopped")

    answer = session.ask(command, **arguments)
    session.ask("terminate")
    session.event("exited")

    assert (answer["success"], answer["message"]) == (False, message)
    assert isinstance(session.end(), Cancelled)


def test_files_that_cant_be_told_of_are_variables_that_say_why() -> None:
    session = Session(Hands())
    session.launch(3)
    session.event("stopped")
    frame = session.ask("stackTrace", threadId=1)["body"]["stackFrames"][0]

    answer = session.ask("scopes", frameId=frame["id"])
    session.ask("disconnect")
    session.event("exited")

    assert answer["message"] == "no files of /"
    session.end()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([("launch", {})], "launch: the first thing to ask for is initialize"),
        ([("initialize", {}), ("threads", {})], "threads: the first thing to ask for is launch"),
        ([("initialize", {}), ("launch", {"target": 1})], "launch: target must be a text"),
        (
            [("initialize", {}), ("launch", {"stopOnEntry": 1})],
            "launch: stopOnEntry must be true or false",
        ),
        ([("initialize", {}), ("launch", {"target": "no"})], "no such target"),
    ],
)
def test_what_comes_before_a_launch(
    asked: list[tuple[str, dict[str, object]]], message: str
) -> None:
    session = Session(Hands())

    def check(launch: Launch) -> None:
        if launch.target:
            raise InputError("no such target")

    for command, arguments in [*asked, ("disconnect", {})]:
        session.send(command, **arguments)
    with pytest.raises(InputError) as raised:
        session.adapter.launched(check)
    answers = [session.receive() for _ in range(len(asked) + 1)]

    session.close()
    assert str(raised.value) == "the editor ended the session before it launched a build"
    assert answers[-2]["message"] == message
    assert answers[-1]["success"]
