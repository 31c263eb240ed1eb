"""Containers of the gateway, by a client of an ordinary user's server: programs, their talk, and what failed steps left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.wire import Message, field
from tests.support.callers.frontends import Frontend, awaiting, ref_of, returning, saying
from tests.support.callers.graphs import EXEC, NONE, Graph, meta, mount
from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.network.buildkitserver import remote_at
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

INIT, FILE, STARTED, EXIT, DONE, SIGNAL = 2, 3, 5, 6, 7, 8
END = field(2, True)
"""In a message of a file: nothing more of it comes."""


@pytest.fixture(scope="module")
def owner(user_with_many_ids: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    owner = person(user_with_many_ids, tmp_path_factory.mktemp("serve"))
    process = owner.start("serve", "--addr", f"unix://{owner.home}/s")
    assert process.stderr is not None
    process.stderr.readline()
    yield owner
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture
def frontend(owner: Person) -> Frontend:
    return Frontend(remote_at(f"unix://{owner.home}/s", environ={"DOCKER_CONFIG": str(owner.home)}))


def init(
    program: str, script: str, streams: tuple[int, ...] = (1,), *, terminal: bool = False
) -> bytes:
    told = field(1, "box") + field(2, meta("sh", "-c", script)[2:])
    told += field(3, bytes(streams)) + field(4, terminal)
    return saying(program, INIT, told)


def printed(told: Message, program: str) -> str:
    files = [Message(each.bytes(FILE)) for each in told.messages(1) if each.text(1) == program]
    return b"".join(each.bytes(3) for each in files).decode()


def status(told: Message, program: str) -> int:
    ends = [each for each in told.messages(1) if each.text(1) == program and each.all(EXIT)]
    return Message(ends[0].bytes(EXIT)).integer(1)


def test_programs_of_a_container(frontend: Frontend, registry: RealRegistry) -> None:
    graph = Graph()
    image = graph.source(f"docker-image://{registry.host}/library/busybox")
    writes = "cat >/shared; cat /proc/1/comm"
    waits = "trap 'exit 9' HUP; echo ready; while :; do :; done"
    talk = b"".join(
        (
            init("first", "read line; exit 4", (0, 1)),
            init("second", writes, (0, 1)),
            saying("second", FILE, field(3, "heard")),
            saying("second", FILE, END),
            awaiting("second", DONE),
            init("terminal", "tty; cat /shared", (0, 1), terminal=True),
            awaiting("terminal", DONE),
            init("waits", waits),
            awaiting("waits", FILE),
            saying("waits", SIGNAL, field(1, "HUP")),
            awaiting("waits", DONE),
            saying("first", FILE, field(3, "go\n")),
            awaiting("first", DONE),
        )
    )
    _, _, told, read, listed, _, _ = frontend.run(
        ("Solve", field(1, graph.definition((image, 0)))),
        (
            "NewContainer",
            lambda told: field(1, "box") + field(2, field(3, "/") + field(23, ref_of(told[0]))),
        ),
        ("ExecProcess", talk),
        ("ReadFileContainer", field(1, "box") + field(2, "/shared")),
        ("ReadDirContainer", field(1, "box") + field(2, "/")),
        ("ReleaseContainer failing", field(1, "box")),
        returning(0),
    )

    assert printed(told, "second") == "sh\n"
    assert printed(told, "terminal").startswith("/dev/pts/")
    assert printed(told, "terminal").endswith("heard")
    ends = {each: status(told, each) for each in ("first", "second", "terminal", "waits")}
    assert ends == {"first": 4, "second": 0, "terminal": 0, "waits": 9}
    assert read.text(1) == "heard"
    assert "shared" in {each.text(1) for each in listed.messages(1)}


def test_what_a_failed_step_has_left(frontend: Frontend, registry: RealRegistry) -> None:
    graph = Graph()
    image = graph.source(f"docker-image://{registry.host}/library/busybox")
    script = "echo left >/root-file; echo also >/out/file; exit 3"
    body = meta("sh", "-c", script) + mount("/", 0, f4=0) + mount("/out", NONE)
    step = graph.op(EXEC, body, (image, 0))

    def solve_details(failed: Message) -> dict[str, list[str]]:
        found = {Message(each).text(1): Message(each).bytes(2) for each in failed.all(3)}
        told = json.loads(found["github.com/moby/buildkit/errdefs.Solve+json"])
        assert told["op"]["exec"]["meta"]["args"] == ["sh", "-c", script]
        assert [each["dest"] for each in told["op"]["exec"]["mounts"]] == ["/", "/out"]
        return {"left": told["mountIDs"]}

    def container(answers: list[Message]) -> bytes:
        root, out = solve_details(answers[0])["left"]
        return field(1, "box") + b"".join(
            field(2, field(3, target) + field(23, ref))
            for target, ref in (("/", root), ("/out", out))
        )

    talk = init("reads", "cat /root-file /out/file") + awaiting("reads", DONE)
    _, _, told, *_ = frontend.run(
        ("Solve failing", field(1, graph.definition((step, 0))) + field(14, True)),
        ("NewContainer", container),
        ("ExecProcess", talk),
        ("ReleaseContainer", field(1, "box")),
        ("Return", b""),
    )

    assert printed(told, "reads") == "left\nalso\n"


def test_a_missing_container(frontend: Frontend) -> None:
    details = frontend.run(("ReleaseContainer failing", field(1, "box")), ("Return", b""))

    assert len(details) == 2


def test_what_clients_may_not_ask_for(owner: Person, tmp_path: Path) -> None:
    process = owner.start(
        "serve", "--addr", f"unix://{owner.home}/t", "--allow-insecure-entitlement", "device"
    )
    assert process.stderr is not None
    process.stderr.readline()
    owner.run("create", "--name", "narrow", "--driver", "remote", f"unix://{owner.home}/t").check()
    owner.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    ended = owner.run("build", "--builder", "narrow", "--allow", "network.host", ".")
    process.terminate()
    process.communicate(timeout=60)

    assert ended.status != 0
    assert "network.host is not allowed by build daemon configuration" in ended.err
