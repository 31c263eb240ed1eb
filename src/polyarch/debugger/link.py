"""Messages of the Debug Adapter Protocol over two descriptors: JSON, each behind its length.

Source: the protocol's overview, "Base protocol".
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from polyarch.errors import Cancelled, InputError, RemoteError

__all__ = ["Link"]

_LONGEST_HEADER = 8 << 10
_LONGEST = 32 << 20
"""Bytes of a message; editors send some hundred."""


class Link:
    """The talk with one editor. Messages may be sent from any thread, and are received by one."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._read = b""
        self._number = 0
        self._lock = threading.Lock()
        self._answered = threading.Condition()
        self._answers: dict[int, Mapping[str, Any]] = {}
        self._is_over = False

    # --- what comes ---

    def receive(self) -> Mapping[str, Any] | None:
        """Return the next message but for answers, which go to who asked; None at the end.

        What isn't JSON is told to the editor, and passed over. Raises InputError where no more messages can be found.
        """
        while (data := self._next()) is not None:
            message = _read(data)
            if message is None:
                self.tell("stderr", "ERROR: a message of the editor is no JSON object\n")
            elif message.get("type") == "response":
                self._take_answer(message)
            else:
                return message
        with self._answered:
            self._is_over = True
            self._answered.notify_all()
        return None

    def _next(self) -> bytes | None:
        header = self._until(b"\r\n\r\n")
        if header is None:
            return None
        length = _length(header)
        while len(self._read) < length:
            if not self._more():
                return None
        data, self._read = self._read[:length], self._read[length:]
        return data

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._read:
            if len(self._read) > _LONGEST_HEADER:
                raise InputError(f"no message of the protocol begins with {self._read[:40]!r}")
            if not self._more():
                return None
        header, _, self._read = self._read.partition(end)
        return header

    def _more(self) -> bool:
        try:
            data = os.read(self._source, 1 << 16)
        except OSError:
            return False  # a terminal that is gone, or a socket
        self._read += data
        return bool(data)

    # --- what goes ---

    def event(self, name: str, body: Mapping[str, object] | None = None) -> None:
        """Tell of something."""
        self._send({"type": "event", "event": name, **({} if body is None else {"body": body})})

    def tell(self, category: str, text: str) -> None:
        """Have a text shown: "stdout", "stderr" or "console" says of what kind it is."""
        self.event("output", {"category": category, "output": text})

    def answer(self, request: Mapping[str, Any], body: Mapping[str, object] | None = None) -> None:
        """Answer a request."""
        self._send(
            {**_answer(request), "success": True, **({} if body is None else {"body": body})}
        )

    def refuse(self, request: Mapping[str, Any], text: str) -> None:
        """Answer a request that wasn't carried out; people are shown why."""
        error = {"id": 1, "format": text.replace("{", "(").replace("}", ")"), "showUser": True}
        self._send({
            **_answer(request), "success": False, "message": text, "body": {"error": error}
        })  # fmt: skip

    def ask(self, command: str, arguments: Mapping[str, object]) -> Mapping[str, Any]:
        """Ask the editor for something, and wait for its answer. Raises RemoteError if it refuses, Cancelled if it goes."""
        number = self._send({"type": "request", "command": command, "arguments": arguments})
        with self._answered:
            self._answered.wait_for(lambda: self._is_over or number in self._answers)
            answer = self._answers.pop(number, None)
        if answer is None:
            raise Cancelled("the editor went away")
        if not answer.get("success"):
            raise RemoteError(f"{command}: {answer.get('message') or 'refused by the editor'}")
        return answer

    def _take_answer(self, message: Mapping[str, Any]) -> None:
        number = message.get("request_seq")
        if isinstance(number, int):
            with self._answered:
                self._answers[number] = message
                self._answered.notify_all()

    def _send(self, message: Mapping[str, object]) -> int:
        with self._lock:
            self._number += 1
            data = json.dumps({"seq": self._number, **message}).encode()
            data = b"Content-Length: %d\r\n\r\n%s" % (len(data), data)
            try:
                while data:
                    data = data[os.write(self._target, data) :]
            except OSError:
                pass  # nobody listens any more: its end is noticed by who receives
            return self._number


def _answer(request: Mapping[str, Any]) -> dict[str, object]:
    return {
        "type": "response",
        "request_seq": request.get("seq", 0),
        "command": request.get("command", ""),
    }


def _length(header: bytes) -> int:
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
            if length <= _LONGEST:
                return length
            raise InputError(
                f"a message of {length} bytes is longer than the {_LONGEST} it may have"
            )
    raise InputError(f"a message has no Content-Length: {header[:80].decode(errors='replace')!r}")


def _read(data: bytes) -> Mapping[str, Any] | None:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
