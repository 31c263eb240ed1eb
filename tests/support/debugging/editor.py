"""A small editor: it speaks the Debug Adapter Protocol with a program that it starts, in the order of VS Code."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

__all__ = ["Editor"]

_PATIENCE = 120.0


class Editor:
    """An editor and its adapter; `terminal` is asked to run what the adapter wants to be run in a terminal."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        terminal: Callable[[list[str]], None] | None = None,
    ) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._terminal = terminal
        self._seq = 0
        self._changed = threading.Condition()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._is_over = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    # --- what comes ---

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        while header := stdout.readline():
            name, _, length = header.decode().partition(":")
            assert (name, stdout.readline()) == ("Content-Length", b"\r\n"), header
            self._take(json.loads(stdout.read(int(length))))
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "response":
            self._answers.put(message)
        elif message["type"] == "event":
            with self._changed:
                self.events.append(message)
                self._changed.notify_all()
        else:
            assert message["command"] == "runInTerminal"
            assert self._terminal is not None
            self._terminal(message["arguments"]["args"])
            answer = {"request_seq": message["seq"], "command": "runInTerminal", "success": True}
            self._send({"type": "response", **answer})

    def wait_for(self, *names: str) -> dict[str, Any]:
        """Return the next event of these names, and forget those before it."""

        def find() -> dict[str, Any] | None:
            return next((each for each in self.events if each["event"] in names), None)

        with self._changed:
            self._changed.wait_for(lambda: find() is not None or self._is_over, _PATIENCE)
            found = find()
            assert found is not None, self.output
            del self.events[: self.events.index(found)]
            self.events.remove(found)
        return found

    @property
    def output(self) -> str:
        """What was printed and not forgotten."""
        with self._changed:
            return "".join(e["body"]["output"] for e in self.events if e["event"] == "output")

    # --- what goes ---

    def _send(self, message: Mapping[str, object]) -> int:
        self._seq += 1
        data = json.dumps({"seq": self._seq, **message}).encode()
        self.send_raw(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        return self._seq

    def send_raw(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Ask for something, and return the whole answer."""
        number = self._send({"type": "request", "command": command, "arguments": arguments})
        answer = self._answers.get(timeout=_PATIENCE)
        assert (answer["request_seq"], answer["command"]) == (number, command)
        return answer

    def get(self, command: str, **arguments: object) -> dict[str, Any]:
        """Ask for something, and return what it was answered with."""
        answer = self.ask(command, **arguments)
        assert answer["success"], answer
        body = answer.get("body", {})
        assert isinstance(body, dict)
        return body

    # --- a session ---

    def launch(self, dockerfile: str = "", lines: tuple[int, ...] = (), **launch: object) -> None:
        """Begin a session as VS Code does."""
        self.get(
            "initialize",
            clientID="vscode",
            adapterID="polyarch",
            linesStartAt1=True,
            supportsRunInTerminalRequest=self._terminal is not None,
        )
        self.get("launch", dockerfile=dockerfile, **launch)
        self.wait_for("initialized")
        wanted = [{"line": each} for each in lines]
        self.get("setBreakpoints", source={"path": dockerfile}, breakpoints=wanted)
        self.get("configurationDone")

    def stopped(self) -> tuple[str, list[int]]:
        """Wait for a stop; return why, and the lines of the stack."""
        event = self.wait_for("stopped", "terminated")
        assert event["event"] == "stopped", self.output
        self.thread = event["body"]["threadId"]
        return event["body"]["reason"], [each["line"] for each in self.stack()]

    def stack(self) -> list[dict[str, Any]]:
        """Return the frames of the thread that has stopped last."""
        frames = self.get("stackTrace", threadId=self.thread)["stackFrames"]
        assert isinstance(frames, list)
        return frames

    def go(self, how: str) -> None:
        """Go on."""
        self.get(how, threadId=self.thread)

    def scopes(self) -> dict[str, int]:
        """Return the numbers of the innermost frame's scopes, by their names."""
        found = self.get("scopes", frameId=self.stack()[0]["id"])["scopes"]
        return {each["name"]: each["variablesReference"] for each in found}

    def unfold(self, number: int, *names: str) -> dict[str, str]:
        """Return the variables below one, by the names that lead there."""
        for name in names:
            found = self.get("variables", variablesReference=number)["variables"]
            number = next(each["variablesReference"] for each in found if each["name"] == name)
        found = self.get("variables", variablesReference=number)["variables"]
        return {each["name"]: each["value"] for each in found}

    def ended(self) -> int:
        """Wait for the end; return the status that was told, which is that of the process."""
        self.wait_for("terminated")
        told = self.wait_for("exited")["body"]["exitCode"]
        assert (self.process.wait(_PATIENCE) == 0) == (told == 0)
        return int(told)
