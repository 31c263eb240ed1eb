"""Builders whose nodes are BuildKit daemons: the one inside of Debian's Docker engine, and containers of it."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import replace

import pytest

from polyarch.engine.containers import Containers
from polyarch.engine.dialing import Address
from tests.integration.test_peers import short_directory
from tests.support.images.rootfs import make_rootfs
from tests.support.machine.engines import ROOT
from tests.support.machine.handlers import enclave, handler_lines
from tests.support.machine.peers import Engine, docker_engine
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS one
RUN --mount=type=secret,id=key test "$(cat /run/secrets/key)" = s3cr3t && uname -m >/machine
COPY . /all/
FROM scratch AS files
COPY --from=one /all /machine /
"""


_BUILDCTL = """\
#!/bin/sh
test "$1" = debug || exec cat
test -e /etc/buildkit/buildkitd.toml
"""
"""In the place of BuildKit's own client: says that the daemon is there, or passes bytes on to nobody."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Debian's Docker engine."""
    who = person(ROOT, tmp_path_factory.mktemp("nodes") / "home")
    with (
        enclave(handler_lines([])) as inside,
        short_directory() as directory,
        docker_engine(directory / "d", inside, who) as engine,
    ):
        yield engine


@pytest.fixture(scope="module")
def client(engine: Engine) -> Person:
    """Root, whose current builder is the BuildKit of a Docker engine."""
    who = engine.who
    address = engine.address.replace("unix://", "docker://")
    who.run("create", "--name", "far", "--driver", "remote", "--use", address).check()
    return who


@pytest.fixture(scope="module")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of the engine that looks like BuildKit's to those who start it."""
    root = make_rootfs(tmp_path_factory.mktemp("image"))
    for name, text in (("buildctl", _BUILDCTL), ("buildkitd", "#!/bin/sh\nexec sleep 600\n")):
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    archive = root.parent / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, "/")
    engine("import", "--change", 'ENTRYPOINT ["buildkitd"]', str(archive), "buildkit:test")
    return "buildkit:test"


def test_it_is_shown(client: Person) -> None:
    inspected = client.run("inspect", "far").check().out
    listed = client.run("ls", "--format", "{{.Name}} {{.Status}}").check().out

    assert "Driver: remote\n" in inspected
    assert "Status:    running\n" in inspected
    assert "linux/amd64" in inspected
    assert "far0 running" in listed


def test_a_build_on_a_daemon(client: Person, registry: RealRegistry) -> None:
    client.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    for name in ("kept.txt", "left.log", "key"):
        client.write(name, "s3cr3t")
    client.write(".dockerignore", "*.log\nkey\nout\nmd.json\nslow\n")
    # The engine of the test has no network for steps.
    secret = ("--network=none", "--secret", "id=key,src=key")

    built = client.run("build", "-o", "out", "--metadata-file", "md.json", *secret, ".").check()
    again = client.run("build", "-o", "out", *secret, ".").check()
    failed = client.run("build", "--network=none", "--no-cache", "-o", "out", ".")

    found = sorted(
        str(path.relative_to(client.work / "out")) for path in (client.work / "out").rglob("*")
    )
    assert found == [".dockerignore", "Dockerfile", "kept.txt", "machine"]
    assert (client.work / "out/machine").read_text() == f"{os.uname().machine}\n"
    assert '#0 building with "far" instance using remote driver' in built.err
    assert "CACHED" in again.err
    assert failed.status == 1
    assert "failed to solve" in failed.err.splitlines()[-1]
    ref = json.loads((client.work / "md.json").read_text())["buildx.build.ref"]
    assert ref.startswith("far/far0/")


def test_a_daemon_builds_what_its_frontend_does_not_know_of(
    client: Person, registry: RealRegistry
) -> None:
    text = f"""\
# syntax=docker/dockerfile:1
FROM {registry.host}/library/busybox AS one
RUN <<EOF
echo said > /said
EOF
RUN <<EOF
#!/bin/sh
echo "$(basename "$0")" > /script
EOF
COPY --chmod=0600 kept.txt <<name /linked/
a document
name
FROM scratch
COPY --link --from=one /said /script /linked /
"""
    for name, content in (("Dockerfile", text), ("kept.txt", "kept"), ("left.log", "left")):
        client.write(f"new/{name}", content)
    words = ("--network=none", "-o", "new.out", "new")

    there = client.run("build", *words)
    reader = replace(client, environ={**client.environ, "POLYARCH_FRONTEND": "here"})
    here = reader.run("build", *words).check()
    later = client.write("later/Dockerfile", "FROM scratch\nCOPY --exclude=*.log . /\n").parent
    refused = reader.run("build", str(later))

    found = {path.name: path.read_text() for path in (client.work / "new.out").iterdir()}
    assert there.status == 1
    assert found == {
        "said": "said\n",
        "script": "EOF\n",
        "kept.txt": "kept",
        "name": "a document\n",
    }
    assert (client.work / "new.out/name").stat().st_mode & 0o777 == 0o600
    assert "[one 2/4] RUN <<EOF" in here.err
    assert refused.status == 1
    assert "Dockerfile:2" in refused.err
    assert refused.err.splitlines()[-1].endswith(
        "the builder is too old for this: it doesn't know of file.copy.includeexcludepatterns"
    )


def test_what_can_not_be_reached_is_an_error(client: Person) -> None:
    # Nothing can ever listen there, so it isn't waited for.
    client.write("file", "")
    client.run(
        "create", "--name", "gone", "--driver", "remote", f"unix://{client.work}/file/none"
    ).check()

    built = client.run("build", "--builder", "gone", ".")
    inspected = client.run("inspect", "gone").check().out

    assert built.status == 1
    assert "can't be reached" in built.err
    assert "Status:   error" in inspected


def test_cancelling_ends_the_remote_build(client: Person, registry: RealRegistry) -> None:
    # Again and again, as the engine's old BuildKit may overlook what is said once.
    step = "RUN while sleep 1; do echo started; done"
    client.write("slow/Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")
    words = ("--progress=plain", "--network=none", "slow")
    with client.start("build", *words) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"started" in line and b"RUN" not in line:
                break

        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().decode()

    assert process.returncode == 130
    assert "context canceled" in rest


def test_a_daemon_in_a_container(engine: Engine, image: str) -> None:
    who = engine.who
    who.write("b.toml", "debug = true\n")
    options = ("--driver-opt", f"image={image},network=none", "--buildkitd-config", "b.toml")
    create = ("create", "--driver", "docker-container", "--name", "own", "--bootstrap", *options)

    def status() -> str:
        rows = who.run("ls", "--format", "{{.Name}} {{.Status}}").check().out.splitlines()
        return next(row.partition(" ")[2] for row in rows if row.startswith("own0 "))

    created = who.run(*create, engine.address).check()
    containers = engine("ps", "--format={{.Names}} {{.Command}}")
    address = Address(url=engine.address)
    with Containers(address=address).dial("buildx_buildkit_own0", ("cat",)) as near:
        near.sendall(b"there and back")
        echoed = near.recv(100)
    who.run("stop", "own").check()
    stopped = status()
    who.run("rm", "--keep-state", "own").check()
    kept = engine("volume", "ls", "--quiet")
    who.run(*create, engine.address).check()
    who.run("rm", "own").check()

    assert (created.out, stopped, echoed) == ("own\n", "stopped", b"there and back")
    assert containers.startswith('buildx_buildkit_own0 "buildkitd --config')
    assert "buildx_buildkit_own0_state" in kept
    assert engine("volume", "ls", "--quiet") == engine("ps", "--all", "--quiet") == ""


def test_images_of_an_engine_stay_there(client: Person, engine: Engine) -> None:
    client.write("Dockerfile", 'FROM scratch\nCOPY Dockerfile /\nCMD ["x"]\n')

    client.run("build", "-t", "stays:1", "--load", ".").check()
    refused = client.run("build", "--platform", "linux/amd64,linux/386", "-t", "stays:2", ".")

    assert engine("image", "inspect", "--format={{.Config.Cmd}}", "stays:1") == "[x]\n"
    assert "Multi-platform build is not supported for the docker driver." in refused.err
    assert (refused.status, engine("images", "--quiet", "stays:2")) == (1, "")


def test_an_older_daemon_says_what_its_frontend_can_not_do(client: Person) -> None:
    client.write("old/Dockerfile", "FROM below\n")

    named = client.run("build", "--build-context", "below=old", "old")
    asked = client.run("build", "--check", "old")

    lacks = "unsupported frontend capability moby.buildkit.frontend.contexts"
    assert lacks in named.err.splitlines()[-1]
    assert "unsupported request frontend.lint" in asked.err.splitlines()[-1]


def test_each_platform_is_built_once_where_it_is_native(
    engine: Engine, registry: RealRegistry
) -> None:
    """One node is a daemon, the other one this machine: one command makes one index."""
    who, name = engine.who, f"{registry.host}/of/nodes:1"
    context = {
        "Dockerfile": "FROM scratch\nCOPY a /\nARG TARGETARCH\nENV A=$TARGETARCH\n",
        "a": "a",
    }
    for path, text in context.items():
        who.write(f"parts/{path}", text)
    socket = who.home / "s"
    with who.start("serve", "--addr", f"unix://{socket}") as server:
        try:
            assert server.stderr is not None
            assert server.stderr.readline().startswith(b"serving at")
            first = ("--driver", "remote", "--platform", "linux/amd64", f"unix://{socket}")
            who.run("create", "--name", "two", *first).check()
            second = ("--append", "--platform", "linux/riscv64", "local")
            who.run("create", "--name", "two", *second).check()
            platforms = ("--platform", "linux/amd64,linux/riscv64", "--progress", "plain")
            told = ("--metadata-file", "parts.json", "-t", name, "--push", "parts")
            built = who.run("build", "--builder", "two", *platforms, *told).check()
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate()
    index = json.loads(who.run("imagetools", "inspect", "--raw", name).check().out)
    digest = json.loads((who.work / "parts.json").read_text())["containerimage.digest"]

    made = [each["platform"]["architecture"] for each in index["manifests"]]
    assert sorted(each for each in made if each != "unknown") == ["amd64", "riscv64"]
    assert digest == who.run("imagetools", "inspect", "--format={{.Manifest.Digest}}", name).out
    copies = {line for line in built.err.splitlines() if "COPY a /" in line}
    assert {line.partition(" ")[2] for line in copies} == {
        "[two0 1/1] COPY a /",
        "[two1 1/1] COPY a /",
    }
