"""Builds that are debugged, by root and by ordinary users: by an editor that speaks the protocol as VS Code does, and at a terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.debugging.editor import Editor
from tests.support.machine.daemons import daemon
from tests.support.machine.programs import Person
from tests.support.machine.screens import Screen
from tests.support.machine.users import for_one_user
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

PROJECT = """
FROM {base} AS base
COPY foo /etc/foo
RUN cp /etc/foo /etc/bar

FROM scratch
COPY --from=base /etc/bar /bar
"""


def project(who: Person, registry: RealRegistry, text: str = PROJECT) -> str:
    who.write("foo", "foo\n")
    return str(who.write("Dockerfile", text.format(base=f"{registry.host}/library/busybox")))


def editor(who: Person, *words: str, terminal: Callable[[list[str]], None] | None = None) -> Editor:
    process = subprocess.Popen(
        who.command("dap", "build", *words),
        env=who.environment(),
        cwd=who.work,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if not words else subprocess.DEVNULL,
    )
    return Editor(process, terminal)


def read_until(terminal: int, text: str) -> str:
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 1 << 16).decode()
    return shown


@pytest.mark.slow
def test_it_stops_before_steps_and_shows_them(who: Person, registry: RealRegistry) -> None:
    dockerfile = project(who, registry)

    with editor(who, "-o", "type=local,dest=out") as asked:
        asked.launch(dockerfile, contextPath=str(who.work), stopOnEntry=True)
        stops = [asked.stopped()]
        for move in ("stepIn", "stepIn", "stepIn"):
            asked.go(move)
            stops.append(asked.stopped())
        scopes = asked.scopes()
        program = asked.unfold(scopes["Arguments"], "exec")
        files = asked.unfold(scopes["File Explorer"], "/", "etc/", "foo")
        for move in ("next", "next", "next"):
            asked.go(move)
            stops.append(asked.stopped())
        asked.go("continue")
        status = asked.ended()

    assert stops == [
        ("step", [7]),
        ("step", [2, 7]),
        ("step", [3, 7]),
        ("step", [4, 7]),
        ("step", [4, 7]),
        ("step", [7]),
        ("step", [7]),
    ]
    assert program["args"] == "/bin/sh -c cp /etc/foo /etc/bar"
    assert program["workdir"] == "/"
    assert (files["data"], files["mode"], files["uid"]) == ("foo\n", "-rw-r--r--", "0")
    assert status == 0
    assert (who.work / "out/bar").read_text() == "foo\n"


@for_one_user
def test_breakpoints_hold_where_steps_stand(who: Person, registry: RealRegistry) -> None:
    dockerfile = project(who, registry)

    with editor(who, ".") as asked:
        asked.launch(dockerfile, lines=(4, 10))
        told = [asked.wait_for("breakpoint")["body"]["breakpoint"] for _ in range(2)]
        first = asked.stopped()
        source = asked.get("source", source={"path": dockerfile})["content"]
        asked.go("stepOut")
        second = asked.stopped()
        asked.go("continue")
        status = asked.ended()

    assert [(each["line"], each["verified"]) for each in told] == [(4, True), (10, False)]
    assert (first, second) == (("breakpoint", [4, 7]), ("step", [7]))
    assert source == Path(dockerfile).read_text()
    assert status == 0


def test_what_a_failed_step_has_left_can_be_seen(who: Person, registry: RealRegistry) -> None:
    text = "FROM {base}\nRUN echo left > /left && false\n"
    dockerfile = project(who, registry, text)

    with editor(who, ".") as asked:
        asked.launch(dockerfile)
        stop = asked.stopped()
        files = asked.unfold(asked.scopes()["File Explorer"], "/", "left")
        asked.go("continue")
        status = asked.ended()

    assert stop == ("exception", [2])
    assert files["data"] == "left\n"
    assert status == 1
    assert not list((who.root / "snapshots").glob("*/left"))


@for_one_user
def test_each_platform_is_a_thread(who: Person, registry: RealRegistry) -> None:
    dockerfile = project(who, registry)

    with editor(who, "--platform", "linux/amd64,linux/arm64", ".") as asked:
        asked.launch(dockerfile, lines=(4,))
        stops = [asked.stopped(), asked.stopped()]
        threads = asked.get("threads")["threads"]
        for each in threads:
            asked.get("continue", threadId=each["id"])
        status = asked.ended()

    assert stops == [("breakpoint", [4, 7])] * 2
    names = sorted(each["name"] for each in threads)
    assert names == ["default (linux/amd64)", "default (linux/arm64)"]
    assert status == 0


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@for_one_user
def test_exec_opens_a_terminal_in_the_step(
    who: Person, registry: RealRegistry, platform: str
) -> None:
    machine = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[platform]
    dockerfile = project(who, registry)
    ours, theirs = os.openpty()
    attached: list[subprocess.Popen[bytes]] = []

    def terminal(words: list[str]) -> None:
        attached.append(
            subprocess.Popen(
                [*who.become(), *words],
                env={"TERM": "xterm"},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        )

    with editor(who, "--platform", platform, ".", terminal=terminal) as asked:
        asked.launch(dockerfile, lines=(4,))
        asked.stopped()
        answer = asked.get("evaluate", context="repl", expression="exec")["result"]
        shown = read_until(ours, "is executed.")
        os.write(ours, b"echo $((6*7)) `cat /etc/foo` `uname -m`; exit\n")
        read_until(ours, f"42 foo {machine}")
        status = attached[0].wait(60)
        asked.go("continue")
        ended = asked.ended()
    os.close(ours)
    os.close(theirs)

    assert answer.startswith("Started process attached to ")
    assert "Running /bin/sh in build container from line 4.\r\n" in shown
    assert (status, ended) == (0, 0)


@for_one_user
def test_a_terminal_ends_when_the_build_goes_on(who: Person, registry: RealRegistry) -> None:
    dockerfile = project(who, registry)
    waiting: list[list[str]] = []

    with editor(who, ".", terminal=waiting.append) as asked:
        asked.launch(dockerfile, lines=(4,))
        asked.stopped()
        asked.get("evaluate", context="repl", expression="exec")
        asked.go("continue")
        status = asked.ended()

    late = who.run(*waiting[0][waiting[0].index("dap") :])
    assert status == 0
    assert (late.status, "ERROR: no debugger listens at " in late.err) == (1, True)


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ({"args": ["--nope"]}, "unknown flag: --nope"),
        ({"args": "--nope"}, "launch: args must be a list of texts"),
        ({"dockerfile": 7}, "launch: dockerfile must be a text"),
        ({}, "there is no build context: contextPath isn't given"),
        ({"contextPath": ".", "args": ["--build-arg"]}, "flag needs an argument: --build-arg"),
    ],
)
@for_one_user
def test_a_launch_that_cant_be_is_answered(
    who: Person, launch: dict[str, object], message: str
) -> None:
    with editor(who) as asked:
        asked.get("initialize")
        answer = asked.ask("launch", **launch)
        asked.get("disconnect")
        _, errors = asked.process.communicate()
        status = asked.process.wait()

    assert not answer["success"]
    assert answer["message"] == message
    assert status == 1
    assert errors.decode().splitlines()[-1].startswith("ERROR: the editor ended the session")


@for_one_user
def test_an_editor_that_goes_ends_the_build(who: Person, registry: RealRegistry) -> None:
    dockerfile = project(who, registry)

    with editor(who, ".") as asked:
        asked.launch(dockerfile, stopOnEntry=True)
        asked.stopped()
        refused = asked.ask("pause", threadId=asked.thread)
        unknown = asked.ask("nonsense")
        asked.get("disconnect")
        status = asked.ended()

    assert refused["message"].startswith("pause: a step can't be stopped")
    assert unknown["message"] == "nonsense: not implemented"
    assert status == 130


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello\r\n\r\n", "ERROR: a message has no Content-Length: 'hello'"),
        (b"x" * 9000, "ERROR: no message of the protocol begins with "),
        (b"Content-Length: 99999999999\r\n\r\n", "ERROR: a message of 99999999999 bytes is longer"),
        (b"", "ERROR: the editor ended the session before it launched a build"),
    ],
)
@for_one_user
def test_what_is_no_message_ends_it(who: Person, data: bytes, message: str) -> None:
    ended = who.run("dap", "build", ".", stdin=data)

    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith(message)


# --- debug build ---

EXPERIMENTAL = {"BUILDX_EXPERIMENTAL": "1"}
FAILING = "FROM {base}\nENV A=1\nWORKDIR /w\nRUN echo left > left && exit 3\n"


def experimental(who: Person) -> Person:
    return replace(who, environ={**who.environ, **EXPERIMENTAL})


def test_a_monitor_opens_where_a_step_has_failed(who: Person, registry: RealRegistry) -> None:
    project(who, registry, FAILING)

    with Screen(experimental(who), "debug", "build", ".") as screen:
        screen.expect("ERROR: process ")
        screen.expect("Press Ctrl-a-c to switch to monitor console\r\n")
        screen.type(b"echo $A `pwd` `cat left` `stty size`\n")
        screen.expect("1 /w left 33 99\r\n")
        screen.type(b"\x01c")
        screen.expect("Switched IO\r\n(polyarch) ")
        screen.type(b"rollback --init\r")
        screen.expect("Interactive container was restarted with process ")
        screen.type(b"ls /w | wc -l\n")
        screen.expect("\r\n0\r\n")
        screen.type(b"exit\n")
        screen.expect("(polyarch) ")
        screen.type(b"exit\r")
        screen.expect("ERROR: failed to build: ")
        status = screen.end()

    assert status == 1


@for_one_user
def test_the_monitor_runs_several_programs(who: Person, registry: RealRegistry) -> None:
    project(who, registry, "FROM {base}\nRUN echo made > /made\n")
    words = ("debug", "--on=always", "--invoke", '"args=[""sleep"",""1000""]","env=B=2"')

    with Screen(experimental(who), *words, "build", ".") as screen:
        screen.expect("Launching interactive container.")
        screen.type(b"\x01c")
        screen.expect("(polyarch) ")
        screen.type(b"exec cat /made\r")
        screen.expect("made\r\n")
        screen.expect("(polyarch) ")
        screen.type(b"ps\r")
        screen.expect("PID\tCURRENT_SESSION\tCOMMAND\r\n")
        screen.expect("\tfalse\t[sleep 1000]\r\n(polyarch) ")
        screen.type(b"exec sh -c 'echo one; read x; echo $x'\r")
        screen.expect("one\r\n")
        screen.type(b"two\n")
        screen.expect("two\r\ntwo\r\n")
        screen.expect("(polyarch) ")
        screen.type(b"nonsense\r")
        screen.expect('monitor: unknown command: "nonsense"\r\nAvailable commands are:\r\n')
        screen.type(b"exit\r")
        status = screen.end()

    assert status == 0


@for_one_user
def test_the_build_may_begin_anew(who: Person, registry: RealRegistry) -> None:
    project(who, registry, FAILING)

    with Screen(experimental(who), "debug", "build", "-o", "out", ".") as screen:
        screen.expect("monitor console\r\n")
        screen.type(b"\x01c")
        screen.expect("(polyarch) ")
        project(who, registry, FAILING.replace(" && exit 3", ""))
        screen.type(b"reload\r")
        status = screen.end()

    assert status == 0
    assert (who.work / "out/w/left").read_text() == "left\n"


@for_one_user
def test_without_a_terminal_the_build_fails_as_it_would(
    who: Person, registry: RealRegistry
) -> None:
    project(who, registry, FAILING)

    ended = experimental(who).run("debug", "build", ".")
    plain = who.run("debug", "build", ".")

    assert ended.status == 1
    assert "ERROR: failed to run monitor: standard input is no terminal\n" in ended.err
    assert ended.err.splitlines()[-1].startswith("ERROR: failed to build: failed to solve: process")
    assert (plain.status, plain.err.splitlines()[-1]) == (1, 'ERROR: unknown command: "debug"')


@for_one_user
def test_a_step_that_lacks_what_it_mounts_has_a_prompt(who: Person, registry: RealRegistry) -> None:
    project(who, registry, "FROM {base}\nRUN --mount=type=bind,source=missing,target=/src true\n")

    with Screen(experimental(who), "debug", "build", ".") as screen:
        screen.expect("Press Ctrl-a-c to switch to monitor console\r\n")
        screen.expect("missing")
        screen.expect("(polyarch) ")
        screen.type(b"exit\r")
        status = screen.end()

    assert status == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--on=never", "build", "."), "invalid value never for --on: it is always or error"),
        (("--invoke", "args=a,b", "build", "."), "invalid value b"),
        (("--invoke", "hat=a,b=c", "build", "."), 'unknown key "hat"'),
        (("--invoke", "tty=perhaps", "build", "."), "failed to parse tty: "),
        (("bake",), 'unknown command: "debug bake"'),
        (("build", "--progress=tty", "."), "--progress=tty can't be used together with debug"),
    ],
)
@for_one_user
def test_what_debug_is_asked_for_is_checked(
    who: Person, words: tuple[str, ...], message: str
) -> None:
    ended = experimental(who).run("debug", *words)

    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith(f"ERROR: {message}")


# --- on builders of other machines ---


@pytest.fixture
def elsewhere(who: Person) -> Iterator[Person]:
    """Someone whose builder is a daemon, which tells of no graphs; its owner is the same."""
    with daemon(who) as socket:
        who.run("create", "--name=far", "--driver=remote", "--use", f"unix://{socket}").check()
        yield experimental(who)


@for_one_user
def test_builds_of_daemons_stop_before_steps(elsewhere: Person, registry: RealRegistry) -> None:
    dockerfile = project(elsewhere, registry)

    with editor(elsewhere, "-o", "type=local,dest=out", ".") as asked:
        asked.launch(dockerfile, stopOnEntry=True)
        stops = [asked.stopped()]
        for move in ("stepIn", "stepIn", "stepIn"):
            asked.go(move)
            stops.append(asked.stopped())
        scopes = asked.scopes()
        program = asked.unfold(scopes["Arguments"], "exec")
        files = asked.unfold(scopes["File Explorer"], "/", "etc/", "foo")
        asked.go("continue")
        status = asked.ended()

    assert stops == [("step", [7]), ("step", [2, 7]), ("step", [3, 7]), ("step", [4, 7])]
    assert program["args"] == "/bin/sh -c cp /etc/foo /etc/bar"
    assert files["data"] == "foo\n"
    assert status == 0
    assert (elsewhere.work / "out/bar").read_text() == "foo\n"


@for_one_user
def test_a_monitor_opens_on_a_daemon(elsewhere: Person, registry: RealRegistry) -> None:
    project(elsewhere, registry, FAILING)

    with Screen(elsewhere, "debug", "build", ".") as screen:
        screen.expect("Press Ctrl-a-c to switch to monitor console\r\n")
        screen.type(b"echo $A `pwd` `cat left` `stty size`\n")
        screen.expect("1 /w left 33 99\r\n")
        screen.resize(40, 100)
        screen.type(b"until stty size | grep '40 100'; do :; done\n")
        screen.expect("\r\n40 100\r\n")
        screen.type(b"\x01c")
        screen.expect("(polyarch) ")
        screen.type(b"rollback --init sh -c 'ls /w | wc -l; read x'\r")
        screen.expect("\n0\r\n")
        screen.type(b"\n")
        screen.expect("(polyarch) ")
        screen.type(b"exit\r")
        status = screen.end()

    assert status == 1
