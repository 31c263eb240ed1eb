"""`polyarch run`: what docker run does with a program, by root and by ordinary users."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.machine.programs import Ended, Person
from tests.support.machine.screens import Screen
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Someone who runs programs of an image."""

    who: Person
    image: str

    def __call__(self, *words: str, stdin: bytes = b"") -> Ended:
        """Run a program; `IMAGE` among the words is the image."""
        given = [self.image if word == "IMAGE" else word for word in words]
        return self.who.run("run", "--rm", *given, stdin=stdin)


@pytest.fixture
def run(root: Person, registry: RealRegistry) -> Runner:
    return Runner(who=root, image=f"{registry.host}/library/busybox")


@pytest.fixture
def run_as(who: Person, registry: RealRegistry) -> Runner:
    return Runner(who=who, image=f"{registry.host}/library/busybox")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("IMAGE", "true"), 0, ""),
        (("IMAGE", "sh", "-c", "exit 7"), 7, ""),
        (("IMAGE", "nope"), 127, 'exec: "nope": executable file not found in $PATH'),
        (("IMAGE", "/etc/passwd"), 126, "exec /etc/passwd: permission denied"),
        (("--nope", "IMAGE"), 1, "unknown flag: --nope"),
        (("--network=bridge", "IMAGE", "true"), 1, "network 'bridge' isn't there"),
        (("Upper/Case", "true"), 125, "must be lowercase"),
        (("--platform=linux/s390x", "IMAGE", "true"), 125, "linux/s390x"),
    ],
)
def test_exit_status(run: Runner, words: tuple[str, ...], status: int, message: str) -> None:
    ended = run(*words)

    assert ended.status == status
    assert message in ended.err


def test_streams_are_kept_apart(run_as: Runner) -> None:
    ended = run_as("IMAGE", "sh", "-c", "echo out; echo err >&2; cat").check()

    assert ended.out == "out\n"
    assert ended.err.splitlines()[-1] == "err"


def test_standard_input(run_as: Runner) -> None:
    data = b"".join(b"%d\n" % number for number in range(50_000))

    assert run_as("-i", "IMAGE", "cat", stdin=data).check().out == data.decode()
    assert run_as("-i", "IMAGE", "head", "-n1", stdin=data).check().out == "0\n"
    assert run_as("IMAGE", "cat", stdin=data).check().out == ""


def test_environment(run: Runner) -> None:
    run.who.write("vars", "# a comment\nFILE=from file\nSET\nUNSET\n")
    user = Person(user=run.who.user, home=run.who.home, environ={"SET": "outside"})
    given = ("-e", "A=1", "--env=B=two words", "--env-file=vars", "-e", "SET", "-e", "NOT_SET")

    shown = user.run("run", "--rm", *given, run.image, "env").check().out

    variables = dict(line.split("=", 1) for line in shown.splitlines())
    assert variables.items() >= {
        ("A", "1"), ("B", "two words"), ("FILE", "from file"), ("SET", "outside"), ("HOME", "/root"),
    }  # fmt: skip
    assert variables.keys().isdisjoint({"NOT_SET", "UNSET"})


def test_where_and_as_whom(run: Runner) -> None:
    shown = run(
        "-w", "/new/directory", "-u", "nobody", "IMAGE", "sh", "-c", "pwd; id -u; id -g"
    ).check()
    assert shown.out == "/new/directory\n65534\n65534\n"
    assert run("--user=12:34", "IMAGE", "sh", "-c", "id -u; id -g").check().out == "12\n34\n"
    assert run("--hostname=here", "IMAGE", "hostname").check().out == "here\n"
    assert run("--network=none", "IMAGE", "ls", "/sys/class/net").check().out == "lo\n"


def test_entrypoint_and_command(run: Runner) -> None:
    run.who.write("Dockerfile", f'FROM {run.image}\nENTRYPOINT ["echo", "entry"]\nCMD ["usual"]\n')
    run.who.run("build", "-t", "entry", ".").check()

    assert run("entry").check().out == "entry usual\n"
    assert run("entry", "-e", "other").check().out == "entry -e other\n"
    assert run("--entrypoint=cat", "entry", "/etc/group").check().out.startswith("root:x:0:")
    assert run("--entrypoint=", "entry", "echo", "bare").check().out == "bare\n"


def test_volumes(run_as: Runner) -> None:
    run_as.who.write("data/given", "content\n")
    script = "cat /v/given; echo made > /v/made"

    assert run_as("-v", "./data:/v", "IMAGE", "sh", "-c", script).check().out == "content\n"

    made = run_as.who.work / "data/made"
    assert made.read_text() == "made\n"
    assert made.stat().st_uid == run_as.who.user.uid
    refused = run_as("-v", f"{run_as.who.work}/data:/v:ro", "IMAGE", "touch", "/v/no")
    assert refused.status == 1
    assert "Read-only file system" in refused.err


def test_nothing_is_kept(run: Runner) -> None:
    run("IMAGE", "touch", "/kept").check()

    assert run("IMAGE", "ls", "/kept").status == 1


@pytest.mark.qemu
def test_a_terminal(run_as: Runner) -> None:
    """The program has a terminal of its own, in its own /dev, of our size, and is reached by keys.

    A shell runs its traps between commands: of a signal that comes right before it begins to read it would only know
    after the next line. So it goes round and round.
    """
    script = (
        "tty; stty size; echo $TERM; uname -m; trap 'stty size' WINCH; trap 'exit 7' INT; "
        "echo ready; read line; echo got $line; while true; do sleep 0.1; done"
    )
    words = ("run", "--rm", "-it", "--platform=linux/arm64", run_as.image, "sh", "-c", script)

    with Screen(run_as.who, *words) as screen:
        screen.expect("/dev/pts/0\r\n33 99\r\nxterm\r\naarch64\r\nready\r\n")
        screen.type(b"hello\n")
        screen.expect("hello\r\ngot hello\r\n")
        screen.resize(40, 100)
        screen.expect("40 100\r\n")
        screen.type(b"\x03")
        assert screen.end() == 7


def test_a_terminal_needs_one(run: Runner) -> None:
    refused = run("-it", "IMAGE", "true")

    assert refused.status == 125
    assert "the input device is not a TTY" in refused.err
    assert run("-t", "IMAGE", "sh", "-c", "test -t 1 && echo yes").check().out == "yes\r\n"


def test_an_image_of_which_no_layer_has_been_read(who: Person, registry: RealRegistry) -> None:
    """Its own name is at no registry: its layers are fetched from where its base came from."""
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\nENV A=1\n")
    who.run("build", "--platform=linux/amd64", "-t", "lazy", ".").check()

    assert who.run("run", "--rm", "lazy", "sh", "-c", "echo $A").check().out == "1\n"
