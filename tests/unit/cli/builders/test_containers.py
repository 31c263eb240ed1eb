"""Commands on builders whose daemons are containers of Docker's engine."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.buildx import directory_of_buildx
from tests.support.fakes.dockerengine import FakeDocker, fake_docker
from tests.support.machine.commands import Printed, call

CREATE = ("create", "--driver=docker-container", "--name=b", "--driver-opt=image=buildkit")
NAME = "buildx_buildkit_b0"
NETWORK = "--allow-insecure-entitlement=network.host"


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_docker(tmp_path) as docker:
        docker.images.add("buildkit")
        yield docker


def run(docker: FakeDocker, *words: str, **variables: str) -> Printed:
    home = docker.path.parent
    environ = {"HOME": str(home), "POLYARCH_ROOT": str(home / "store"), **variables}
    return call(*words, environ=environ)


def saved(docker: FakeDocker, name: str = "b") -> dict[str, object]:
    path = docker.path.parent / ".docker/buildx/instances" / name
    document: dict[str, object] = json.loads(path.read_text())
    return document


def test_a_builder_of_an_engine(docker: FakeDocker) -> None:
    made = run(docker, *CREATE, "--platform=linux/arm64", docker.address)
    listed = run(docker, "ls", "--format={{.Name}} {{.Status}}").out.splitlines()
    inspected = run(docker, "inspect", "--bootstrap", "b")
    stopped = run(docker, "stop", "b")
    then = run(docker, "ls", "--format={{.Name}} {{.Status}}").out.splitlines()
    removed = run(docker, "rm", "b")

    assert (made.status, made.out) == (0, "b\n")
    assert listed == ["b ", "b0 inactive", "default ", "default running"]
    assert "[internal] booting buildkit" in inspected.err
    assert "Driver: docker-container\n" in inspected.out
    assert f"BuildKit daemon flags: {NETWORK}\n" in inspected.out
    assert (stopped.status, then[1]) == (0, "b0 stopped")
    assert (removed.status, removed.err) == (0, "b removed\n")
    assert (docker.containers, docker.volumes) == ({}, set())
    assert run(docker, "rm", "b").err == (
        'failed to remove b: no builder "b" found\nERROR: failed to remove one or more builders\n'
    )


def test_what_buildx_reads_of_it(docker: FakeDocker) -> None:
    config = docker.path.parent / "buildkitd.toml"
    config.write_text('insecure-entitlements = ["network.host"]\ndebug = true\n')
    flags = f"--buildkitd-config={config}"
    run(docker, *CREATE, flags, "--buildkitd-flags=--debug --trace='a b'", docker.address)

    assert saved(docker) == {
        "Name": "b",
        "Driver": "docker-container",
        "Nodes": [
            {
                "Name": "b0",
                "Endpoint": docker.address,
                "Platforms": None,
                "DriverOpts": {"image": "buildkit"},
                "Flags": ["--debug", "--trace=a b"],
                "Files": {
                    "buildkitd.toml": base64.b64encode(
                        b"debug = true\ninsecure-entitlements = ['network.host']\n"
                    ).decode()
                },
            }
        ],
        "Dynamic": False,
    }


def test_nodes_come_and_go(docker: FakeDocker) -> None:
    run(docker, *CREATE, docker.address)
    append = ("create", "--append", "--name=b", "--driver-opt=image=buildkit")
    # Where the current engine is, as nothing else is said.
    added = run(docker, *append, DOCKER_HOST=docker.address.replace("unix://", "unix:///"))
    changed = run(docker, "create", "--name=b", "--node=b1", "--driver-opt=memory=1g")
    nodes = saved(docker)["Nodes"]
    left = run(docker, "create", "--leave", "--name=b", "--node=b1")
    again = run(docker, *append, docker.address)

    assert [each.status for each in (added, changed, left, again)] == [0, 0, 0, 1], added.err
    assert isinstance(nodes, list)
    assert [each["DriverOpts"] for each in nodes] == [{"image": "buildkit"}, {"memory": "1g"}]
    assert again.err == f"ERROR: invalid duplicate endpoint {docker.address}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (*CREATE, "--driver-opt=foo=1", "{address}"),
            "failed to initialize builder b (b0): invalid driver option foo for docker-container driver",
        ),
        (
            (*CREATE, "unix:///none"),
            "failed to initialize builder b (b0): failed to connect to the docker API at unix:///none: No such file or directory",
        ),
        (
            ("create", "--name=b", "nowhere"),
            'failed to initialize builder b (b0): context "nowhere": context not found',
        ),
        (
            ("create", "--driver=remote", "--name=b", "--driver-opt=foo=1", "tcp://a:1"),
            "failed to initialize builder b (b0): invalid driver option foo for remote driver",
        ),
        (("create", "--driver=remote"), "no remote endpoint provided"),
        (
            ("create", "--driver=remote", "--buildkitd-flags=--debug", "tcp://a:1"),
            "setting buildkit flags is not supported for remote driver",
        ),
        (
            (*CREATE, "--buildkitd-flags='", "{address}"),
            "failed to parse buildkit flags: No closing quotation",
        ),
    ],
)
def test_what_can_not_be_made(docker: FakeDocker, words: tuple[str, ...], message: str) -> None:
    ended = run(docker, *(word.format(address=docker.address) for word in words))

    assert (ended.status, f"ERROR: {message}\n" in ended.err) == (1, True), ended.err
    assert not (docker.path.parent / ".docker/buildx/instances/b").exists()


def test_without_an_endpoint_it_is_this_machine(docker: FakeDocker) -> None:
    made = run(docker, *CREATE)

    assert "driver docker-container replaced" in made.err
    assert "polyarch" in run(docker, "inspect", "b").out
    assert docker.asked == []


def test_an_engine_that_is_gone_keeps_no_builder(docker: FakeDocker) -> None:
    run(docker, *CREATE, "--bootstrap", docker.address)
    docker.path.rename(docker.path.with_suffix(".away"))
    listed = run(docker, "ls")
    inspected = run(docker, "inspect", "b")
    removed = run(docker, "rm", "b")

    told = f"failed to connect to the docker API at {docker.address}: No such file or directory"
    assert f"Failed to get status for b (b0): {told}\n" in listed.err
    assert f"Error:{'':<17}{told}" in inspected.out
    assert removed.err == (
        f"failed to remove b: failed to remove node b0: {told}\n"
        "ERROR: failed to remove one or more builders\n"
    )
    assert 'no builder "b"' in run(docker, "inspect", "b").err


def test_inactive_ones_are_removed_together(docker: FakeDocker) -> None:
    run(docker, *CREATE, docker.address)
    run(docker, *CREATE[:2], "--name=c", "--bootstrap", *CREATE[3:], docker.address)
    docker.behind = None
    removed = run(docker, "rm", "--all-inactive", "--force")

    assert "b removed\n" in removed.err
    assert run(docker, "inspect", "b").status == 1


@pytest.mark.parametrize(
    ("flag", "containers", "volumes"),
    [("--keep-state", 0, 1), ("--keep-daemon", 1, 1)],
)
def test_what_rm_keeps(docker: FakeDocker, flag: str, containers: int, volumes: int) -> None:
    run(docker, *CREATE, "--bootstrap", docker.address)

    run(docker, "rm", flag, "b")

    assert (len(docker.containers), len(docker.volumes)) == (containers, volumes)


def test_what_was_chosen_with_buildx_is_not_used_by_itself(docker: FakeDocker) -> None:
    directory_of_buildx(docker.path.parent, "docker-container")

    unasked = run(docker, "stop")
    run(docker, "use", "theirs")
    asked = run(docker, "stop")

    assert unasked.status == 0
    assert 'WARNING: the current builder "theirs" has the driver docker-container' in unasked.err
    assert '"polyarch use theirs" has it used' in unasked.err
    assert (asked.status, "docker-container:///theirs" in asked.err) == (1, True)


def test_contexts_are_there_already(docker: FakeDocker) -> None:
    meta = docker.path.parent / ".docker/contexts/meta/x/meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": docker.address}
    meta.write_text(json.dumps({"Name": "far", "Endpoints": {"docker": endpoint}}))
    docker.has_buildkit = False

    made = run(docker, "create", "--name=far")
    removed = run(docker, "rm", "far")
    listed = run(docker, "ls", "--format={{.Name}} {{.DriverEndpoint}} {{.Status}}")

    assert made.err == 'ERROR: instance name "far" already exists as context builder\n'
    assert "run `docker context rm far` to remove this context" in removed.err
    assert "far docker \nfar far error\n" in listed.out
