"""Builders whose daemons are pods: the BuildKit inside of Debian's Docker engine, and polyarch's own server, behind a cluster's API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.integration.test_peers import short_directory
from tests.integration.test_serve import runs
from tests.support.images.greetings import DOCKERFILE, GREETINGS, PLATFORMS, shown_digests
from tests.support.machine import bridge
from tests.support.machine.engines import ROOT
from tests.support.machine.handlers import enclave, handler_lines
from tests.support.machine.peers import docker_engine
from tests.support.machine.processes import below, watching
from tests.support.machine.programs import Person, person
from tests.support.network.kubernetesapi import FakeCluster, fake_cluster, kubeconfig
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

BRIDGE = (sys.executable, str(bridge.__file__))
STEPS = """\
FROM {base} AS one
RUN --mount=type=secret,id=key test "$(cat /run/secrets/key)" = s3cr3t && uname -m >/machine
COPY . /all/
FROM scratch
COPY --from=one /all /machine /
"""
SLOW = "FROM {base}\nRUN sleep 617 & while echo begun; do sleep 1; done\n"
"""It says so again and again, as the engine's old BuildKit may overlook what is said once."""


@contextmanager
def user_of(cluster: FakeCluster, who: Person) -> Iterator[Person]:
    """Make somebody's current builder one in the cluster, and remove it in the end."""
    config = kubeconfig(cluster, who.home / "kubeconfig", user="token")
    who = replace(who, environ={**who.environ, "KUBECONFIG": str(config)})
    options = ("--driver-opt=replicas=2,timeout=20s", "--buildkitd-flags=--debug")
    who.run("create", "--driver=kubernetes", "--name=far", "--use", *options).check()
    try:
        yield who
    finally:
        removed = who.run("rm", "far").check()
        assert (removed.err, cluster.is_empty) == ("far removed\n", True)


@pytest.fixture(scope="module")
def by_buildkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Root, whose pods have the BuildKit of Debian's Docker engine."""
    directory = tmp_path_factory.mktemp("kubernetes")
    who = person(ROOT, directory / "home")
    with (
        enclave(handler_lines(["arm", "arm64"])) as inside,
        short_directory() as short,
        docker_engine(short / "d", inside, who) as engine,
        fake_cluster(directory / "cluster") as cluster,
    ):
        cluster.program = (*BRIDGE, "--engine", engine.address.removeprefix("unix://"))
        with user_of(cluster, who) as user:
            yield user


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """Polyarch behind BuildKit's API."""
    owner = person(ROOT, tmp_path_factory.mktemp("server") / "owner")
    with short_directory() as short:
        process = owner.start("serve", "--addr", f"unix://{short}/s")
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"serving at")
        yield process
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def cluster(
    server: subprocess.Popen[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FakeCluster]:
    """A cluster whose pods have that server."""
    address = server.args[-1] if isinstance(server.args, list) else ""
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.program = (*BRIDGE, str(address).removeprefix("unix://"))
        yield cluster


@pytest.fixture(scope="module")
def by_server(cluster: FakeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    who = person(ROOT, tmp_path_factory.mktemp("client") / "home")
    with user_of(cluster, who) as user:
        yield user


def test_a_build_by_buildkit(by_buildkit: Person, registry: RealRegistry) -> None:
    who = by_buildkit
    who.write("context/Dockerfile", STEPS.format(base=f"{registry.host}/library/busybox"))
    for name in ("kept.txt", "left.log"):
        who.write(f"context/{name}", "s3cr3t")
    who.write("key", "s3cr3t")
    who.write("context/.dockerignore", "*.log\n")
    # The engine of the test has no network for steps.
    words = ("--network=none", "--secret", "id=key,src=key", "-o", "out", "context")

    built = who.run("build", *words).check()
    again = who.run("build", *words).check()
    listed = who.run("ls", "--format={{.Name}} {{.DriverEndpoint}} {{.Status}}").check().out

    found = sorted(path.name for path in (who.work / "out").rglob("*"))
    assert found == [".dockerignore", "Dockerfile", "kept.txt", "machine"]
    assert "[internal] booting buildkit" in built.err
    assert "waiting for 2 pods to be ready, timeout: 20 seconds" in built.err
    assert '#0 building with "far" instance using kubernetes driver' in built.err
    assert "booting" not in again.err
    assert "CACHED" in again.err
    (line,) = (each for each in listed.splitlines() if each.startswith("far0 "))
    assert line.startswith("far0 kubernetes:///far?deployment=buildkit-")
    assert line.endswith(" running")


def test_the_walk_through_by_buildkit(by_buildkit: Person, registry: RealRegistry) -> None:
    """For each platform a file greets; the engine of Debian has no exporter of images."""
    who = by_buildkit
    text = DOCKERFILE.format(base=f"{registry.host}/library/busybox")
    who.write("walk/Dockerfile", f"{text}FROM scratch\nCOPY --from=1 /app/hello /\n")

    platforms = ("--network=none", f"--platform={PLATFORMS}", "-o", "greetings")
    who.run("build", *platforms, "walk").check()

    found = {
        path.parent.name: path.read_text() for path in (who.work / "greetings").glob("*/hello")
    }
    assert found == {name.replace("/", "_"): text for name, text in GREETINGS.items()}


def test_cancelling_ends_the_build_in_the_pod(by_buildkit: Person, registry: RealRegistry) -> None:
    who = by_buildkit
    who.write("slow/Dockerfile", SLOW.format(base=f"{registry.host}/library/busybox"))
    building = begun(who, "build", "--progress=plain", "--network=none", "slow")
    steps = [pid for pid in below(os.getpid()) if runs(pid, "sleep 617")]

    with watching(steps) as watched:
        building.send_signal(signal.SIGINT)
        left = watched.left_after(30)
    _, rest = building.communicate(timeout=60)

    assert building.returncode == 130
    assert b"context canceled" in rest
    assert steps
    assert left == []


def test_the_walk_through_by_a_server(by_server: Person, registry: RealRegistry) -> None:
    who, name = by_server, f"{registry.host}/pods/hello-arch"
    who.write("walk/Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))

    told = ("--metadata-file", "md.json", "--push")
    who.run("build", "-t", name, f"--platform={PLATFORMS}", *told, "walk").check()

    shown = who.run("imagetools", "inspect", name).check().out
    greetings = {
        platform: who.run("run", "--rm", f"{name}@{digest}").check().out
        for platform, digest in shown_digests(shown).items()
    }
    ref = json.loads((who.work / "md.json").read_text())["buildx.build.ref"]
    assert greetings == GREETINGS
    assert ref.startswith("far/far0/")


def test_a_client_that_is_killed_takes_its_build_along(
    by_server: Person, server: subprocess.Popen[bytes], registry: RealRegistry
) -> None:
    who = by_server
    who.write("slow/Dockerfile", SLOW.format(base=f"{registry.host}/library/busybox"))
    building = begun(who, "build", "--progress=plain", "slow")
    steps = [pid for pid in below(server.pid) if runs(pid, "sleep 617")]

    with watching(steps) as watched:
        building.kill()
        left = watched.left_after(30)
    building.communicate()

    assert steps
    assert left == []


def test_a_pod_that_dies_in_the_middle(
    by_server: Person, cluster: FakeCluster, registry: RealRegistry
) -> None:
    who, name = by_server, f"{registry.host}/pods/never"
    who.write("slow/Dockerfile", SLOW.format(base=f"{registry.host}/library/busybox"))
    building = begun(who, "build", "--progress=plain", "-t", name, "--push", "slow")

    cluster.kill()
    _, rest = building.communicate(timeout=60)

    assert building.returncode == 1
    assert (
        "failed to solve: the builder at kubernetes://builds/far0 hung up: "
        "command terminated with exit code 137\n"
    ) in rest.decode()
    assert who.run("imagetools", "inspect", name).status != 0


def test_pods_that_nobody_may_enter(
    by_server: Person, cluster: FakeCluster, registry: RealRegistry
) -> None:
    who, name = by_server, f"{registry.host}/pods/never"
    who.write("empty/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    cluster.forbidden = {"GET pods/exec"}
    try:
        refused = who.run("build", "-t", name, "--push", "empty")
    finally:
        cluster.forbidden = set()

    assert refused.status == 1
    assert "forbids it, asked to run buildctl in the pod far0-" in refused.complaint()
    assert who.run("imagetools", "inspect", name).status != 0


def begun(who: Person, *words: str) -> subprocess.Popen[bytes]:
    """Start a build, and wait until its step has begun."""
    building = who.start(*words)
    assert building.stderr is not None
    for line in building.stderr:
        if b" begun" in line and b"RUN" not in line:
            return building
    raise AssertionError(building.communicate())
