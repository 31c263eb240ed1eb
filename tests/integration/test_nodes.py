"""Builders whose nodes are BuildKit daemons: the one inside of Debian's Docker engine, and this machine beside it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.integration.test_peers import short_directory
from tests.support.machine.engines import ROOT
from tests.support.machine.handlers import enclave, handler_lines
from tests.support.machine.peers import docker_engine
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


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Root, whose current builder is the BuildKit of a Docker engine."""
    who = person(ROOT, tmp_path_factory.mktemp("nodes") / "home")
    with (
        enclave(handler_lines([])) as inside,
        short_directory() as directory,
        docker_engine(directory / "d", inside, who) as engine,
    ):
        address = engine.address.replace("unix://", "docker://")
        who.run("create", "--name", "far", "--driver", "remote", "--use", address).check()
        yield who


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


def test_what_can_not_be_reached_is_an_error(client: Person) -> None:
    client.run(
        "create", "--name", "gone", "--driver", "remote", f"unix://{client.home}/none"
    ).check()

    built = client.run("build", "--builder", "gone", ".")
    inspected = client.run("inspect", "gone").check().out

    assert built.status == 1
    assert "can't be reached" in built.err
    assert "Status:   error" in inspected


def test_cancelling_ends_the_remote_build(client: Person, registry: RealRegistry) -> None:
    client.write(
        "slow/Dockerfile", f"FROM {registry.host}/library/busybox\nRUN echo started && sleep 600\n"
    )
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
