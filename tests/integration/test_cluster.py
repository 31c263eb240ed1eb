"""A Dask cluster as a builder: a scheduler and workers in processes of their own, a real registry, and one who is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.images.keys import write_key
from tests.support.machine.clusters import Cluster, cluster_of
from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base}
COPY . /copied
RUN --mount=type=secret,id=key uname -m > /machine && cat /run/secrets/key && ls -A /copied > /listed
"""
BOTH = "--platform=linux/amd64,linux/arm64"


@pytest.fixture(scope="module")
def cluster(
    user_with_many_ids: User, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Three workers of an ordinary user's."""
    owner = person(user_with_many_ids, tmp_path_factory.mktemp("cluster"))
    natives = {"one": "linux/amd64", "two": "linux/amd64", "arm": "linux/arm64"}
    with cluster_of(owner, natives) as found:
        yield found


@pytest.fixture
def client(root: Person, registry: RealRegistry) -> Person:
    """Somebody else, with a directory of which not all is for builds, and attestations as docker buildx has them."""
    root.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    root.write(".dockerignore", "left-out\nDockerfile\n*.d\n")
    root.write("left-out", "x")
    root.write("kept", "y")
    root.write("../key", "s3cr3t-s3cr3t")
    return replace(root, environ={"BUILDX_NO_DEFAULT_ATTESTATIONS": "0"})


def create(who: Person, name: str, cluster: Cluster, *words: str) -> None:
    who.run("create", "--name", name, "--driver", "dask", *words, cluster.address).check()


def inspected(who: Person, name: str) -> Any:
    return json.loads(who.run("imagetools", "inspect", "--raw", name).check().out)


def test_parts_are_built_where_they_are_native_and_joined(
    client: Person, cluster: Cluster, registry: RealRegistry
) -> None:
    create(client, "farm", cluster)
    name = f"{registry.host}/farm/app"
    words = ("--builder=farm", "--progress=plain", "--secret=id=key,src=../key")
    private, public = write_key(client.home, "ecdsa")

    shown = client.run("inspect", "farm").check().out
    built = client.run(
        "build",
        *words,
        BOTH,
        "--metadata-file=../md.json",
        "-t",
        name,
        "--push",
        f"--sign=key={private}",
        ".",
    ).check()
    alone = (f"-t={name}:alone", "--platform=linux/amd64", "--push", f"--sign=key={private}")
    client.run("build", *words, *alone, ".").check()
    written = client.run("build", *words, "--platform=linux/arm64", "-o", "../out", ".").check()

    for each in (name, f"{name}:alone"):
        client.run("verify", "--pull", "--key", public, each).check()
    assert " worker.arm: linux/arm64=2" in shown.splitlines()
    assert "[arm stage-0 3/3] RUN" in built.err
    assert "Warning" not in built.err
    assert "s3cr3t" not in built.err + written.err + cluster.printed()
    metadata = json.loads((client.home / "md.json").read_text())
    index = inspected(client, f"{name}@{metadata['containerimage.digest']}")
    kinds = [each["platform"]["architecture"] for each in index["manifests"]]
    assert sorted(kinds) == ["amd64", "arm64", "unknown", "unknown"]
    assert "buildx.build.provenance/linux/arm64" in metadata
    out = client.home / "out"
    assert (out / "machine").read_text() == "aarch64\n"
    assert (out / "listed").read_text().split() == [".dockerignore", "kept"]
    assert "CACHED" in written.err
    listed = client.run("history", "ls", "--builder=farm", "--format={{.Status}}").check().out
    assert listed.split() == ["Completed"] * 3


def test_targets_get_what_they_are_built_on_from_others(
    client: Person, cluster: Cluster, registry: RealRegistry
) -> None:
    client.write("next.d", "FROM base\nRUN cat /machine > /seen\n")
    client.write(
        "docker-bake.json",
        json.dumps(
            {
                "group": {"default": {"targets": ["base", "next"]}},
                "target": {
                    "base": {"secret": ["id=key,src=../key"]},
                    "next": {
                        "dockerfile": "next.d",
                        "contexts": {"base": "target:base"},
                        "output": ["type=local,dest=../out"],
                    },
                },
            }
        ),
    )
    create(client, "plain", cluster)
    create(client, "farm", cluster, f"--driver-opt=transfer={registry.host}/farm/transfer")
    words = ("bake", "--allow=fs=*", "--progress=plain", "--set=*.platform=linux/arm64")

    refused = client.run(*words, "--builder=plain")
    baked = client.run(*words, "--builder=farm").check()
    again = client.run(*words, "--builder=farm").check()

    assert "built on base, which isn't pushed" in refused.complaint()
    assert (client.home / "out/seen").read_text() == "aarch64\n"
    assert "[next arm 2/2] RUN cat /machine > /seen" in baked.err
    assert again.err.count("CACHED") >= 4


def test_what_is_lost_is_built_elsewhere_or_said_to_be_lost(
    client: Person, cluster: Cluster, registry: RealRegistry
) -> None:
    create(client, "farm", cluster)
    client.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN sleep 2 && echo built\n")
    words = ("build", "--builder=farm", "--progress=plain")

    nobody = client.run(*words, "--platform=linux/s390x", ".")
    moved = client.start(
        *words, "--platform=linux/amd64", "-t", f"{registry.host}/farm/m", "--push", "."
    )
    _kill_who_builds(cluster, moved)
    _, told = moved.communicate(timeout=60)
    lost = client.start(*words, "--platform=linux/arm64", "--no-cache", ".")
    _wait_for(cluster, lost)
    cluster.scheduler.kill()
    _, complained = lost.communicate(timeout=60)
    gone = client.run(*words, ".")

    assert (
        "runs linux/s390x natively: its 3 workers have linux/amd64, linux/arm64"
        in nobody.complaint()
    )
    text = told.decode()
    assert moved.returncode == 0, text
    assert "one was lost: linux/amd64 is built again on two" in text or (
        "two was lost: linux/amd64 is built again on one" in text
    )
    assert lost.returncode == 1
    assert f"lost connection to the scheduler at {cluster.address}" in complained.decode()
    assert b"Traceback" not in told + complained
    assert f"no scheduler of Dask answers at {cluster.address}" in gone.complaint()


def _kill_who_builds(cluster: Cluster, build: Any) -> None:
    name = _wait_for(cluster, build)
    cluster.workers[name].send_signal(signal.SIGKILL)


def _wait_for(cluster: Cluster, build: Any) -> str:
    """Wait until a worker runs a step of a build that isn't through; returns its name."""
    shown = b""
    while line := build.stderr.readline():
        shown += line
        if b"] RUN " in line:
            return str(line.split(b"[", 1)[1].split()[0].decode())
    raise AssertionError(shown.decode())
