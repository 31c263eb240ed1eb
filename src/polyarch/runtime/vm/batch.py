"""Calls in a machine that have to succeed, one after another: the first that fails ends them and is named."""

from __future__ import annotations

import os
import struct

from polyarch.errors import MachineError
from polyarch.runtime.vm.agent import Agent
from polyarch.runtime.vm.program import Label, Operand, Program, Word

__all__ = ["ANSWER_BYTES", "Batch", "make_way"]

_HERE = -100
"""The working directory, in place of an open one."""
_CLOEXEC = os.O_CLOEXEC

_ANSWER = struct.Struct("<qq")
ANSWER_BYTES = _ANSWER.size


class Batch:
    """Calls, each with words for what it is to do; `program` may be added to."""

    def __init__(self, agent: Agent) -> None:
        self.program = agent.new_program()
        self._agent = agent
        self._stages = [""]
        self.stage = self.program.word()
        self.error = self.program.word()
        """Right behind `stage`: the two are the answer."""
        self.failed = Label()

    def do(self, call: str, *operands: Operand, to: str, result: Word | None = None) -> Word:
        """Add a call that must not fail; `to` says what it is for, after "can't"."""
        program, after, next_one = self.program, Label(), Label()
        into = program.call(call, *operands, result=result)
        program.branch_less(into, 0, after, next_one)
        program.place(after)
        program.set(self.stage, len(self._stages))
        program.set(self.error, into)
        program.jump(self.failed)
        program.place(next_one)
        self._stages.append(to)
        return into

    def end(self) -> bytes:
        """Add the answer, and return the whole as it is sent."""
        program, done = self.program, Label()
        program.set(self.stage, 0)
        program.jump(done)
        program.place(self.failed)
        program.place(done)
        self._agent.send(program, self.stage.address, _ANSWER.size)
        return self._agent.end(program)

    def check(self, answer: bytes) -> None:
        """Raise MachineError if the answer tells of a call that failed."""
        stage, error = _ANSWER.unpack(answer)
        if stage:
            raise MachineError(f"the virtual machine can't {self.describe(stage, error)}")

    def describe(self, stage: int, error: int) -> str:
        """Say what failed and why."""
        known = self._stages[stage] if 0 < stage < len(self._stages) else "do what it was asked for"
        return f"{known}: {os.strerror(-error) if -4096 < error < 0 else f'error {error}'}"


def make_way(program: Program, target: str, *, is_file: bool) -> None:
    """Add: make what is missing of a path; what can't be made shows when it is used."""
    parts = target.strip("/").split("/")
    for number in range(1, len(parts) + (not is_file)):
        program.call("mkdirat", _HERE, program.text("/" + "/".join(parts[:number])), 0o755)
    if is_file:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _CLOEXEC
        opened = program.call("openat", _HERE, program.text(target), flags, 0o644)
        with program.unless_negative(opened):
            program.call("close", opened)
