"""`polyarch serve` by an ordinary user, and clients that know it as a BuildKit daemon: what they get, and what is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from grpclib.exceptions import GRPCError

from polyarch.buildkit.address import Target
from polyarch.buildkit.build import Remote
from polyarch.buildkit.messages import pairs
from polyarch.buildkit.nodes import look_at
from polyarch.digest import Digest
from polyarch.wire import Message, field
from tests.support.callers.frontends import Frontend, ref_of, returning
from tests.support.callers.graphs import DIFF, EXEC, FILE, MERGE, NONE, Graph, action, meta, mount
from tests.support.machine.engines import User
from tests.support.machine.processes import below, watching
from tests.support.machine.programs import Ended, Person, person
from tests.support.network.buildkitserver import remote_at
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS one
RUN --mount=type=secret,id=key test $(wc -c </run/secrets/key) = 6 && cat /run/secrets/key && echo made >/made
RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK"
COPY --from=more extra /
COPY kept.txt /
FROM scratch AS files
COPY --from=one /made /extra /kept.txt /
"""


class Server:
    """The server of an ordinary user, and another user's home from which it is used."""

    def __init__(self, owner: Person, client: Person, process: subprocess.Popen[bytes]) -> None:
        self.owner = owner
        self.client = client
        self.process = process
        self.socket = owner.home / "s"


@contextmanager
def serving(user: User, directory: Path) -> Iterator[Server]:
    owner, client = person(user, directory / "owner"), person(user, directory / "client")
    process = owner.start("serve", "--addr", f"unix://{owner.home}/s")
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line == f"serving at unix://{owner.home}/s\n".encode()
    client.run(
        "create", "--name", "far", "--driver", "remote", "--use", f"unix://{owner.home}/s"
    ).check()
    yield Server(owner, client, process)
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def server(user_with_many_ids: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(user_with_many_ids, tmp_path_factory.mktemp("serve")) as server:
        yield server


def test_builds_of_a_client(server: Server, registry: RealRegistry) -> None:
    client, owner = server.client, server.owner
    for who in (client, owner):
        who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
        who.write("kept.txt", "kept")
        who.write("key", "s3cr3t")
        who.write("more/extra", "more")
    agent = client.run_other("ssh-agent", "-s", "-a", str(client.home / "agent")).check()
    options = (
        *("--secret", "id=key,src=key", "--build-context", "more=more"),
        *("--build-arg", "SOURCE_DATE_EPOCH=1700000000", "--target", "one"),
    )
    forwarded = ("--ssh", f"default={client.home}/agent")
    exported = "type=image,push=true,rewrite-timestamp=true,name="
    files = ("--target", "files", "-o", "out", "--cache-to", "type=inline")

    try:
        built = client.run(
            "build", *options, *forwarded, "-o", f"{exported}{registry.host}/far", "."
        ).check()
        written = client.run("build", *options, *forwarded, *files, ".").check()
        own = owner.run(
            "build", *options, *forwarded, "-o", f"{exported}{registry.host}/own", "."
        ).check()
    finally:
        os.kill(int(agent.out.partition("SSH_AGENT_PID=")[2].partition(";")[0]), signal.SIGTERM)
    digests = [
        json.loads(
            owner.run(
                "imagetools", "inspect", f"{registry.host}/{name}", "--format", "{{json .Manifest}}"
            )
            .check()
            .out
        )["digest"]
        for name in ("far", "own")
    ]

    assert digests[0] == digests[1], "the same engine, the same store, the same image"
    assert "s3cr3t" not in built.err + written.err
    assert "***" in built.err
    assert 'building with "far" instance' in built.err
    assert "CACHED" in own.err
    assert sorted(os.listdir(client.work / "out")) == ["extra", "kept.txt", "made"]
    assert not (client.root / "blobs").exists() or not any((client.root / "blobs").rglob("*/*"))


def test_what_a_daemon_keeps_is_told_and_removed(server: Server, registry: RealRegistry) -> None:
    client, owner = server.client, server.owner
    client.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN echo kept > /kept\n")
    client.run("build", "--metadata-file=../md.json", "-o", "../out", ".").check()
    ref = json.loads((client.home / "md.json").read_text())["buildx.build.ref"].rpartition("/")[2]

    listed = client.run("history", "ls", "--format={{.Ref}} {{.Status}}").check().out
    shown = client.run("history", "inspect", ref).check().out
    logs = client.run("history", "logs", "--progress=plain", ref).check().err
    exported = client.run("history", "export", "-o", "../one.dockerbuild", ref).check()
    usage = client.run("du", "--format={{.Description}}").check().out
    why = client.run("du", "--why")
    pruned = client.run("prune", "--force", "--filter", "description~=echo kept").check().out
    client.run("history", "rm", ref).check()

    metadata = json.loads((client.home / "md.json").read_text())
    assert metadata["buildx.build.provenance"]["buildType"].startswith("https://mobyproject.org/")
    assert f"{ref} Completed" in listed.splitlines()
    assert "Status:" not in shown
    assert "https://slsa.dev/provenance/" in shown
    assert "RUN echo kept > /kept" in logs
    assert exported.err == ""
    assert (client.home / "one.dockerbuild").stat().st_size > 1000
    assert any("echo kept" in line for line in usage.splitlines()), usage
    assert "daemons don't say what keeps their records" in why.complaint()
    assert "Total:" in pruned
    assert "echo kept" not in client.run("du", "--format={{.Description}}").check().out
    assert ref not in client.run("history", "ls", "--format={{.Ref}}").check().out
    # All of it was the daemon's, and is gone there.
    assert ref not in owner.run("history", "ls", "--format={{.Ref}}").check().out


def test_a_client_that_is_killed_takes_its_build_along(
    server: Server, registry: RealRegistry
) -> None:
    client = server.client
    base = f"{registry.host}/library/busybox"
    client.write("slow", f"FROM {base}\nRUN echo begun && sleep 600\n")
    building = client.start("build", "-f", "slow", "--progress=plain", ".")
    assert building.stderr is not None
    for line in building.stderr:
        if b" begun" in line and b"RUN" not in line:
            break
    steps = [pid for pid in below(server.process.pid) if runs(pid, "sleep 600")]

    with watching(steps) as watched:
        os.killpg(building.pid, signal.SIGKILL)
        left = watched.left_after(30)
    building.communicate()

    assert steps
    assert left == []


def test_the_socket_is_its_owners_and_goes_with_the_server(
    user_with_many_ids: User, tmp_path: Path
) -> None:
    with serving(user_with_many_ids, tmp_path) as server:
        mode = stat.S_IMODE(server.socket.stat().st_mode)
        second = server.owner.run("serve", "--addr", f"unix://{server.socket}")
        processes = [server.process.pid, *below(server.process.pid)]

        with watching(processes) as watched:
            server.process.send_signal(signal.SIGTERM)
            _, told = server.process.communicate(timeout=30)
            left = watched.left_after(30)

    assert (mode, server.process.returncode, told, left) == (0o600, 0, b"", []), told.decode()
    assert "somebody listens at" in second.complaint()
    assert not server.socket.exists()


@contextmanager
def held_build(
    server: Server, registry: RealRegistry
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A build whose step has begun, and goes on until something comes from the socket."""
    client = server.client
    with socket.create_server(("127.0.0.1", 0)) as gate:
        nc = f"RUN --network=host nc 127.0.0.1 {gate.getsockname()[1]} >/got && grep go /got"
        client.write("held", f"FROM {registry.host}/library/busybox\n{nc}\n")
        building = client.start("build", "-f", "held", "--allow=network.host", ".")
        connection, _ = gate.accept()
        with connection:
            yield building, connection
        building.communicate()


def test_sigterm_lets_builds_end_and_takes_no_more(
    user_with_many_ids: User, registry: RealRegistry, tmp_path: Path
) -> None:
    with (
        serving(user_with_many_ids, tmp_path) as server,
        held_build(server, registry) as (building, connection),
    ):
        server.client.write("more", "FROM scratch\nCOPY more /\n")
        server.process.send_signal(signal.SIGTERM)
        # The signal may take longer than a client that comes now.
        more = next(each for each in attempts(server, "more") if each.status)
        connection.sendall(b"go\n")
        connection.shutdown(socket.SHUT_RDWR)
        _, told = building.communicate()
        server.process.communicate(timeout=60)

    assert "the server takes no more builds: it is ending" in more.complaint()
    assert (building.returncode, server.process.returncode) == (0, 0), told.decode()


def attempts(server: Server, file: str) -> Iterator[Ended]:
    for _ in range(50):
        yield server.client.run("build", "-f", file, ".")


def test_sigint_ends_builds_that_sigterm_lets_end(
    user_with_many_ids: User, registry: RealRegistry, tmp_path: Path
) -> None:
    with (
        serving(user_with_many_ids, tmp_path) as server,
        held_build(server, registry) as (building, _),
    ):
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        server.process.communicate(timeout=60)
        building.communicate(timeout=60)

    assert (building.returncode != 0, server.process.returncode) == (True, 0)


def test_one_client_over_a_pipe(user_with_many_ids: User, tmp_path: Path) -> None:
    who = person(user_with_many_ids, tmp_path / "home")
    words = [f"{name}={value}" for name, value in who.environment().items()]
    program = ("env", "-i", *words, *who.command("dial-stdio"))

    state = look_at(Remote(address="ssh://here", target=Target(program=program), environ={}))

    assert state.error == ""
    assert "linux/amd64" in map(str, state.platforms)


def runs(pid: int, words: str) -> bool:
    try:
        return words in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return False


def test_graphs_of_other_programs(server: Server, registry: RealRegistry) -> None:
    graph = Graph()
    image = graph.source(f"docker-image://{registry.host}/library/busybox")
    written = field(1, "/kept") + field(2, 0o644) + field(3, b"kept") + field(5, -1)
    base = graph.op(FILE, action(5, written, 0, 0), (image, 0))
    script = "echo root >/root-file; rm /kept; echo out >/out/file; ln /out/file /out/same; exit 3"
    body = b"".join(
        (
            meta("sh", "-c", script, more=field(12, bytes((3,)))),
            mount("/", 0, f4=0),
            mount("/out", NONE, f4=1),
        )
    )
    step = graph.op(EXEC, body, (base, 0))
    ends = field(1, field(1, 0)) + field(2, field(1, 1))
    changed = graph.op(DIFF, ends, (base, 0), (step, 0))
    copied = field(1, "/") + field(2, "/") + field(4, -1) + field(6, 1) + field(11, -1)
    files = graph.op(
        FILE,
        b"".join(
            (
                action(4, copied + field(12, "f*") + field(8, 1), 0, NONE, 1),
                action(8, field(1, "file") + field(2, "/link") + field(4, -1), 2, NONE),
                action(7, field(1, "/root-*") + field(3, 1), 3, 0),
            )
        ),
        (changed, 0),
        (step, 1),
    )
    # A layer that comes twice, and one that takes back what the step has done.
    inputs = b"".join(field(1, field(1, number) or b"\x08\x00") for number in range(2))
    twice = graph.op(MERGE, inputs, (changed, 0), (changed, 0))
    back = graph.op(DIFF, ends, (step, 0), (base, 0))
    undone = graph.op(MERGE, inputs, (step, 0), (back, 0))
    remote = remote_at(
        f"unix://{server.socket}", environ={"DOCKER_CONFIG": str(server.client.home)}
    )

    def of(number: int, message: bytes) -> Callable[[list[Message]], bytes]:
        return lambda told: field(1, ref_of(told[number])) + message

    wanted = (files, changed, twice, undone)
    answers = Frontend(remote).run(
        *(("Solve", field(1, graph.definition((each, 0)))) for each in wanted),
        *(("ReadDir", of(number, field(2, "/"))) for number in range(len(wanted))),
        ("StatFile", of(0, field(2, "/link"))),
        ("StatFile", of(3, field(2, "/kept"))),
        returning(0),
    )
    listed, difference, same, whole, linked, kept, _ = answers[len(wanted) :]

    assert {each.text(1) for each in listed.messages(1)} >= {"file", "link"}
    assert "same" not in {each.text(1) for each in listed.messages(1)}
    names = {each.text(1) for each in difference.messages(1)}
    assert "root-file" in names
    assert not names & {"out", "etc", "home"}
    assert {each.text(1) for each in same.messages(1)} == names
    assert Message(linked.bytes(1)).text(7) == "file"
    assert "root-file" not in {each.text(1) for each in whole.messages(1)}
    assert Message(kept.bytes(1)).text(1) == "kept"


def test_a_dockerfile_is_read_once(server: Server, registry: RealRegistry, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "# syntax=docker/dockerfile:1\nFROM scratch\nENV KEY=value\nCOPY --from=more file /\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_text("more")
    remote = remote_at(f"unix://{server.socket}", environ={"DOCKER_CONFIG": str(tmp_path)})
    asked = field(2, "dockerfile.v0") + pairs(3, {"context:more": "local:more", "label:by": "me"})
    directories = {"context": tmp_path, "dockerfile": tmp_path, "more": tmp_path / "more"}

    name = f"{registry.host}/read-once"
    exported = Frontend(remote, directories, {"attest:provenance": "mode=min"})
    answers = exported.run(
        ("Solve", asked), returning(0), exporters=(("image", {"name": name, "push": "true"}),)
    )
    index = server.owner.run("imagetools", "inspect", name, "--raw").check().out
    looked = Frontend(remote, directories)
    file = looked.run(
        ("Solve", asked),
        ("ReadFile", lambda told: field(1, ref_of(told[0])) + field(2, "/file")),
        returning(0),
    )[1]
    question = Frontend(remote, directories)
    described = question.run(
        ("Solve", asked + pairs(3, {"requestid": "frontend.outline"})),
        ("Return", field(1, b"")),
    )[0]

    result = Message(answers[0].bytes(3))
    told = {each.text(1): each.bytes(2) for each in result.messages(10)}
    config = json.loads(told["containerimage.config"])["config"]
    assert config["Env"][-1] == "KEY=value"
    assert config["Labels"] == {"by": "me"}
    assert exported.read.count("dockerfile") == 1
    assert "attestation-manifest" in index, "who asked for the build says what is attested"
    assert file.bytes(1) == b"more"
    assert question.read.count("dockerfile") == 1
    assert b"result.txt" in described.bytes(3)


def test_results_of_graphs_are_attested(
    server: Server, registry: RealRegistry, tmp_path: Path
) -> None:
    def tree(name: str, text: bytes) -> bytes:
        graph = Graph()
        made = field(1, name) + field(2, 0o644) + field(3, text) + field(5, -1)
        return field(1, graph.definition((graph.op(FILE, action(5, made, NONE, 0)), 0)))

    kind, name = "https://example.com/said", f"{registry.host}/attested"

    def returned(told: list[Message]) -> bytes:
        said = field(3, field(1, ref_of(told[1]))) + field(4, "/said.json") + field(5, kind)
        attested = field(12, field(1, "linux") + field(2, field(1, said)))
        return field(1, field(3, field(1, ref_of(told[0]))) + attested)

    remote = remote_at(f"unix://{server.socket}", environ={"DOCKER_CONFIG": str(tmp_path)})
    build = Frontend(remote, attributes={"attest:provenance": "mode=max"})
    build.run(
        ("Solve", tree("/file", b"kept")),
        ("Solve", tree("/said.json", b'{"ok": 1}')),
        ("Return", returned),
        exporters=(("image", {"name": name, "push": "true"}),),
    )
    shown = server.owner.run("imagetools", "inspect", name, "--format", "{{json .Provenance}}")
    index = json.loads(server.owner.run("imagetools", "inspect", name, "--raw").check().out)

    said = [each.get("annotations", {}) for each in index["manifests"]]
    assert said[1]["vnd.docker.reference.type"] == "attestation-manifest"
    definition = json.loads(shown.check().out)["SLSA"]["buildDefinition"]
    assert definition["externalParameters"]["configSource"] == {}
    assert "dockerfileVersion" not in definition["internalParameters"]
    assert definition["internalParameters"]["buildConfig"]["llbDefinition"]
    digest = index["manifests"][1]["digest"]
    manifest = server.owner.run("imagetools", "inspect", f"{name}@{digest}", "--raw").check().out
    assert kind in manifest, "what the frontend says, beside where it came from"


def test_a_merge_removes_in_images_what_it_removes_here(
    server: Server, registry: RealRegistry, tmp_path: Path
) -> None:
    def file(path: str, *base: tuple[Digest, int]) -> Digest:
        made = field(1, path) + field(2, 0o644) + field(3, path.encode()) + field(5, -1)
        return graph.op(FILE, action(5, made, 0 if base else NONE, 0), *base)

    graph, name = Graph(), f"{registry.host}/merged"
    below = file("/gone")
    above = graph.op(FILE, action(7, field(1, "/gone"), 0, 0), (file("/gone"), 0))
    inputs = b"".join(field(1, field(1, number) or b"\x08\x00") for number in range(2))
    merged = graph.op(MERGE, inputs, (below, 0), (file("/kept", (above, 0)), 0))
    remote = remote_at(f"unix://{server.socket}", environ={"DOCKER_CONFIG": str(tmp_path)})

    Frontend(remote).run(
        ("Solve", field(1, graph.definition((merged, 0)))),
        returning(0),
        exporters=(("image", {"name": name, "push": "true"}),),
    )
    pulled = Graph()
    pulled_image = (pulled.source(f"docker-image://{name}"), 0)
    listed = Frontend(remote).run(
        ("Solve", field(1, pulled.definition(pulled_image))),
        ("ReadDir", lambda told: field(1, ref_of(told[0])) + field(2, "/")),
        returning(0),
    )[1]

    assert {each.text(1) for each in listed.messages(1)} == {"kept"}


def test_a_policy_that_is_sent_replaces_images_and_denies_sources(
    server: Server, registry: RealRegistry, tmp_path: Path
) -> None:
    base = f"{registry.host}/library/busybox:latest"
    (tmp_path / "Dockerfile").write_text("FROM wanted.example/base:1\nCOPY file /\n")
    (tmp_path / "file").write_text("kept")
    remote = remote_at(f"unix://{server.socket}", environ={"DOCKER_CONFIG": str(tmp_path)})
    directories = {"context": tmp_path, "dockerfile": tmp_path}

    def rule(action: int, name: str, to: str = "") -> bytes:
        updates = field(3, field(1, to)) if to else b""
        return field(2, field(1, action) + field(2, field(1, name)) + updates)

    replaced = rule(2, "docker-image://wanted.example/*:1", f"docker-image://{base}")
    denied = rule(1, "local://*")

    read = Frontend(remote, directories).run(
        ("Solve", field(2, "dockerfile.v0") + field(15, replaced)),
        ("ReadFile", lambda told: field(1, ref_of(told[0])) + field(2, "/file")),
        returning(0),
    )[1]
    with pytest.raises(GRPCError, match="denied by policy"):
        Frontend(remote, directories).run(
            ("Solve", field(2, "dockerfile.v0") + field(14, 1) + field(15, replaced + denied)),
        )

    assert read.bytes(1) == b"kept"
