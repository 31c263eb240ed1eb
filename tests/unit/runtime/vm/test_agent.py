"""The agent as a program of this machine, natively or through QEMU's user-mode emulators."""

from __future__ import annotations

import os
import pty
import subprocess
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import native_architecture
from polyarch.emulation.qemu import find_emulator
from polyarch.errors import MachineError
from polyarch.runtime.vm.agent import AGENT_READY, Agent
from polyarch.runtime.vm.architecture import ARCHITECTURES
from polyarch.runtime.vm.batch import ANSWER_BYTES, Batch
from polyarch.runtime.vm.program import Label, Word

pytestmark = pytest.mark.qemu

AT_FDCWD = -100


class Running:
    """An agent that runs; its ports are terminals, which programs can open by name."""

    def __init__(self, agent: Agent, ports: list[int]) -> None:
        self.agent = agent
        self._ports = ports

    def send(self, program: bytes) -> None:
        os.write(self._ports[0], program)

    def receive(self, count: int, port: int = 0) -> bytes:
        received = b""
        while len(received) < count:
            received += os.read(self._ports[port], count - len(received))
        return received


@contextmanager
def running(architecture: str, directory: Path) -> Iterator[Running]:
    with ExitStack() as resources:
        ports, names = [], []
        for _ in range(3):
            ours, theirs = pty.openpty()
            tty.setraw(theirs)
            for each in (ours, theirs):
                resources.callback(os.close, each)
            ports.append(ours)
            names.append(os.ttyname(theirs))
        agent = Agent(ARCHITECTURES[architecture], ports=names, is_init=False)
        program = directory / "agent"
        program.write_bytes(agent.elf())
        program.chmod(0o755)
        emulator = None
        if architecture != native_architecture():
            emulator = find_emulator(architecture, Facts(None))
            assert emulator is not None
        words = [str(program)] if emulator is None else [emulator.path, str(program)]
        child = resources.enter_context(subprocess.Popen(words))
        resources.callback(child.kill)
        yield Running(agent, ports)


@pytest.fixture(params=sorted(ARCHITECTURES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with running(request.param, tmp_path) as agent:
        assert agent.receive(len(AGENT_READY)) == AGENT_READY
        yield agent


@pytest.fixture
def call(machine: Running) -> Callable[[Batch], None]:
    def do(batch: Batch) -> None:
        machine.send(batch.end())
        batch.check(machine.receive(ANSWER_BYTES))

    return do


def test_calls_do_what_they_say(
    machine: Running, call: Callable[[Batch], None], tmp_path: Path
) -> None:
    batch = Batch(machine.agent)
    path = batch.program.text(str(tmp_path / "made"))
    batch.do("mkdirat", AT_FDCWD, path, 0o700, to="make a directory")
    batch.do("fchmodat", AT_FDCWD, path, 0o751, to="change it")

    call(batch)

    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o751


def test_the_first_call_that_fails_is_told_and_the_rest_left_out(
    machine: Running, call: Callable[[Batch], None], tmp_path: Path
) -> None:
    batch = Batch(machine.agent)
    missing = batch.program.text(str(tmp_path / "not/there"))
    batch.do("mkdirat", AT_FDCWD, missing, 0o700, to="make a directory")
    batch.do("mkdirat", AT_FDCWD, batch.program.text(str(tmp_path / "later")), 0o700, to="go on")

    with pytest.raises(MachineError) as caught:
        call(batch)

    assert str(caught.value) == (
        "the virtual machine can't make a directory: No such file or directory"
    )
    assert not (tmp_path / "later").exists()


def test_one_program_comes_after_another(machine: Running, call: Callable[[Batch], None]) -> None:
    for _ in range(3):
        call(Batch(machine.agent))


def test_numbers_are_added_and_compared_with_their_signs(machine: Running) -> None:
    program = machine.agent.new_program()
    total, minus = program.word(7), program.word(-3)
    answer = program.word(0)
    less, done = Label(), Label()
    program.add(total, minus, 10, to=total)
    program.branch_less(total, minus, less, done)
    program.place(less)
    program.branch_equal(total, -6, done, less)
    program.place(done)
    program.set(answer, total)
    machine.agent.send(program, answer.address, 8)

    machine.send(machine.agent.end(program))

    assert int.from_bytes(machine.receive(8), "little", signed=True) == -6


def test_a_pump_hands_on_what_comes_through_a_pipe(tmp_path: Path) -> None:
    # QEMU's user-mode emulators have threads, but no processes that share their memory.
    with running(native_architecture(), tmp_path) as machine:
        machine.receive(len(AGENT_READY))
        pump_and_check(machine)


def pump_and_check(machine: Running) -> None:
    agent = machine.agent
    program = agent.new_program()
    ends = program.data(bytes(16))
    program.call("pipe2", ends, os.O_CLOEXEC)
    pump = agent.start_pump(program, 1, Word(ends.offset))
    text = b"spoken" * 100
    program.call("write", Word(ends.offset + 4), program.data(text), len(text))
    program.call("close", Word(ends.offset + 4))
    program.call("wait4", pump, 0, 0x40000000, 0)
    agent.send(program, agent.pumps[1].total.address, 8)

    machine.send(agent.end(program))

    assert machine.receive(len(text), port=2) == text
    assert int.from_bytes(machine.receive(8), "little") == len(text)
