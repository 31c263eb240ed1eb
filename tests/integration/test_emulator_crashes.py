"""Emulators that crash or hang: the step is run again by other means, and what helped is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine.emulators import (
    CRASHES,
    CRASHES_WITH_POINTER_AUTHENTICATION,
    HANGS,
    HANGS_WITH_POINTER_AUTHENTICATION,
    fake_program,
)
from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

SIGNAL = "qemu: uncaught target signal 11 (Segmentation fault)"
CRASHED = f"the emulator crashed: {SIGNAL}"


def build(
    who: Person,
    registry: RealRegistry,
    step: str,
    program: bytes = CRASHES,
    *,
    mode: str = "strict",
) -> Ended:
    who.write("p", "", 0o755).write_bytes(program)
    base = f"FROM {registry.host}/library/busybox AS s"
    last = "FROM scratch\nCOPY --from=s /o /\n"
    who.write("Dockerfile", f"{base}\nCOPY --chmod=755 p /p\n{step}\n{last}")
    words = (f"--emulation={mode}", "--platform=linux/arm64", "-o", "out")
    return who.run("build", "--no-cache", *words, ".")


def quick(who: Person) -> Person:
    return replace(who, environ={**who.environ, "POLYARCH_HANG_SECONDS": "2"})


def runs(ended: Ended) -> int:
    """How often the step was begun: each attempt prints a line of its own."""
    lines = ended.err.splitlines()
    return len([line for line in lines if line.startswith("#") and line.endswith(" begun")])


def test_a_crash_is_tried_with_another_cpu_and_remembered(
    who: Person, registry: RealRegistry
) -> None:
    step = "RUN mkdir /o && echo begun && touch /o/$(cat /proc/sys/kernel/random/uuid) && /p"

    first = build(who, registry, step, CRASHES_WITH_POINTER_AUTHENTICATION)
    again = build(who, registry, step, CRASHES_WITH_POINTER_AUTHENTICATION)

    assert first.check().err.count(CRASHED) == 1
    assert runs(first) == 2
    assert "run again with QEMU " in first.err
    place = f"{registry.host}/library/busybox on linux/arm64"
    assert f" with -cpu cortex-a72 helped, and is remembered for {place}" in first.err
    assert runs(again.check()) == 1
    assert " with -cpu cortex-a72, which helped earlier" in again.err
    # The layer is that of the last attempt alone, in both builds.
    assert len(list((who.work / "out").iterdir())) == 2


def test_with_native_programs_the_first_rung_is_without(
    root: Person, registry: RealRegistry
) -> None:
    step = "RUN mkdir /o && echo begun && /p"

    ended = build(root, registry, step, CRASHES_WITH_POINTER_AUTHENTICATION, mode="auto").check()

    assert runs(ended) == 3
    order = ("run again without native programs", "run again with QEMU ", " helped, and is ")
    places = [ended.err.index(text) for text in order]
    assert places == sorted(places)


def test_a_step_that_crashes_everywhere_tells_of_all_attempts(
    root: Person, registry: RealRegistry
) -> None:
    ended = build(root, registry, "RUN echo begun && /p")

    said = ended.complaint()
    assert ended.status == 1
    assert "exit code: 139\n" in said
    assert runs(ended) == 3
    assert said.count(CRASHED) == 3
    assert "with -cpu cortex-a72: the emulator crashed" in said
    assert "another version of QEMU may do better (POLYARCH_QEMU_PATH, POLYARCH_QEMU_IMAGE)" in said


def test_a_crash_is_tried_by_another_version(root: Person, registry: RealRegistry) -> None:
    text = f"qemu-aarch64 version 9.1.0\n{SIGNAL} - core dumped\n"
    bad = Path(root.write("bad/qemu-aarch64-static", "", 0o755))
    bad.write_bytes(fake_program(text.encode(), status=139))
    who = replace(root, environ={"POLYARCH_QEMU_PATH": str(bad.parent)})

    ended = build(who, registry, "RUN mkdir /o && uname -m >/o/m").check()

    assert (who.work / "out/m").read_text() == "aarch64\n"
    assert f"{CRASHED}" in ended.err
    assert "helped, and is remembered for" in ended.err


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 139", 139),
        # The first process of a step gets no signal that it sends itself.
        ("sh -c 'kill -9 $$'; exit $?", 137),
        ("sh -c 'kill -15 $$'; exit $?", 143),
        ("sh -c 'kill -6 $$'; exit $?", 134),
        ("exit 1", 1),
        ("/p; seq 2000; exit 3", 3),
    ],
)
def test_what_fails_by_itself_is_not_run_again(
    root: Person, registry: RealRegistry, command: str, status: int
) -> None:
    ended = build(root, registry, f"RUN echo begun; {command}")

    assert (ended.status, runs(ended)) == (1, 1)
    assert f"exit code: {status}\n" in ended.complaint()
    assert "run again" not in ended.err


def test_a_hang_is_found_and_tried_with_another_cpu(who: Person, registry: RealRegistry) -> None:
    step = "RUN echo begun && mkdir /o && /p"

    ended = build(quick(who), registry, step, HANGS_WITH_POINTER_AUTHENTICATION).check()

    assert "it hung: for 2 s none of its processes did anything" in ended.err
    assert runs(ended) == 2
    assert " with -cpu cortex-a72 helped, and is remembered for " in ended.err


def test_a_step_that_hangs_everywhere_ends(root: Person, registry: RealRegistry) -> None:
    ended = build(quick(root), registry, 'RUN ["/p"]', HANGS)

    assert ended.status == 1
    assert ended.complaint().count("it hung: for 2 s") == 3


@pytest.mark.parametrize(
    "command",
    [
        "sleep 4",
        "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done",
        "sleep 4 | cat",
        "sleep 4 & wait",
    ],
)
def test_what_is_slow_is_not_taken_for_hung(
    root: Person, registry: RealRegistry, command: str
) -> None:
    step = f"RUN mkdir /o && {command} && echo through > /o/m"

    ended = build(quick(root), registry, step).check()

    assert "hung" not in ended.err
    assert (root.work / "out/m").read_text() == "through\n"


def test_a_time_that_is_none(root: Person, registry: RealRegistry) -> None:
    who = replace(root, environ={"POLYARCH_HANG_SECONDS": "soon"})

    ended = build(who, registry, "RUN true")

    assert "POLYARCH_HANG_SECONDS=soon is no number of seconds" in ended.complaint()
