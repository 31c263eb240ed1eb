"""A daemon in a container of Docker's engine, from its creation to its removal."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.buildkit.build import build_remotely
from polyarch.buildkit.nodes import look_at
from polyarch.drivers import container
from polyarch.drivers.container import ContainerNode
from polyarch.drivers.driver import NodeDriver, Status
from polyarch.drivers.nodes import driver_of
from polyarch.errors import MachineError
from polyarch.progress import CancelToken, Event, LogEvent, StatusEvent, ignore_events
from polyarch.record import replace
from polyarch.release import BUILDKIT_RELEASE
from polyarch.request.make import make_request
from polyarch.request.values import Output
from tests.support.fakes.dockerengine import FakeDocker, fake_docker
from tests.support.fakes.engine import BASE, fake_engine
from tests.support.images.trees import plant
from tests.support.network.buildkitserver import serving_buildkit

NAME = "buildx_buildkit_b0"
NODE = BuilderNode(name="b0", driver_opts={"image": "buildkit:1"})


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[FakeDocker]:
    with fake_docker(tmp_path) as docker:
        docker.images.add("buildkit:1")
        yield docker


def driver(
    docker: FakeDocker, node: BuilderNode = NODE, name: str = "docker-container"
) -> NodeDriver:
    node = replace(node, endpoint=docker.address)
    builder = SavedBuilder(name="b", driver=name, nodes=(node,))
    return driver_of(builder, node, {"DOCKER_CONFIG": "/nonexistent"})


def test_a_life(docker: FakeDocker) -> None:
    node = driver(docker)
    found = [node.status()]
    for act in (node.boot, node.boot):
        act(ignore_events)
        found.append(node.status())
    node.stop()
    found.append(node.status())
    node.stop()
    node.boot(ignore_events)
    found.append(node.status())
    node.remove(keeps_state=True)
    found.append(node.status())
    kept = set(docker.volumes)
    node.boot(ignore_events)
    node.remove(keeps_state=False)
    node.remove(keeps_state=False)

    running = Status.RUNNING
    assert found == [
        Status.INACTIVE, running, running, Status.STOPPED, running, Status.INACTIVE
    ]  # fmt: skip
    assert (kept, docker.volumes) == ({f"{NAME}_state"}, set())
    assert docker.asked.count("POST /containers/create") == 2
    assert docker.asked.count(f"POST /containers/{NAME}/stop") == 1


def test_what_a_container_is_made_with(docker: FakeDocker) -> None:
    docker.info = {"CgroupDriver": "cgroupfs", "SecurityOptions": ["name=userns"]}
    options = {"image": "buildkit:1", "network": "host", "memory": "1k", "env.A": "b"}
    files = {
        name: base64.b64encode(text.encode()).decode()
        for name, text in (("buildkitd.toml", "debug = true\n"), ("certs/r/ca.pem", "ca"))
    }

    driver(docker, replace(NODE, driver_opts=options, files=files, flags=("--debug",))).boot(
        ignore_events
    )

    assert docker.containers[NAME]["document"] == {
        "Image": "buildkit:1",
        "Env": ["A=b"],
        "Cmd": ["--config", "/etc/buildkit/buildkitd.toml", "--debug"],
        "HostConfig": {
            "Privileged": True,
            "Init": True,
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
            "Mounts": [
                {"Type": "volume", "Source": f"{NAME}_state", "Target": "/var/lib/buildkit"}
            ],
            "Memory": 1024,
            "NetworkMode": "host",
            "CgroupParent": "/docker/buildx",
            "UsernsMode": "host",
        },
    }
    assert docker.files(NAME) == {
        "buildkit/buildkitd.toml": b"debug = true\n",
        "buildkit/certs/r/ca.pem": b"ca",
    }


def test_an_image_that_nobody_has(docker: FakeDocker) -> None:
    docker.images.clear()

    with pytest.raises(MachineError) as caught:
        driver(docker).boot(ignore_events)

    assert str(caught.value) == (
        "the image buildkit:1 of the builder can't be fetched: no such host"
    )
    assert docker.containers == {}


def test_a_local_image_will_do(docker: FakeDocker) -> None:
    docker.images = {"buildkit"}
    events: list[Event] = []

    driver(docker, replace(NODE, driver_opts={"image": "buildkit"})).boot(events.append)

    told = [each.id for each in events if isinstance(each, StatusEvent)]
    assert "using local image buildkit" in told


def test_a_daemon_that_never_answers_tells_why(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "_FIRST_PAUSE", 0.0)
    docker.run = lambda _words: (1, b"", b"no socket\n")
    events: list[Event] = []

    with pytest.raises(MachineError, match=r"b0 doesn't answer: exit code 1$"):
        driver(docker).boot(events.append)

    logged = b"".join(each.data for each in events if isinstance(each, LogEvent))
    assert logged == b"its last words\nno socket\n"


@pytest.mark.parametrize("name", ["docker-container", "docker"])
def test_a_build_through_an_engine(docker: FakeDocker, tmp_path: Path, name: str) -> None:
    node = driver(docker, name=name)
    context = plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\nCOPY a /\n", "a": "text"})
    request = make_request(
        context,
        attestations=(),
        outputs=(Output(type="local", destination=str(tmp_path / "out")),),
    )
    with fake_engine(tmp_path) as engine, serving_buildkit(engine, tmp_path):
        docker.behind = tmp_path / "buildkitd.sock"
        node.boot(ignore_events)
        state = look_at(node.remote())
        build_remotely(node.remote(), request, sink=ignore_events, cancel=CancelToken())

    assert (state.error, state.version) == ("", BUILDKIT_RELEASE)
    assert (tmp_path / "out/a").read_text() == "text"
    assert isinstance(node, ContainerNode) == (name == "docker-container")


def test_an_engine_without_buildkit(docker: FakeDocker) -> None:
    docker.has_buildkit = False

    assert look_at(driver(docker, name="docker").remote()).error == "No such thing: /grpc"


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    node = replace(NODE, endpoint=f"unix://{tmp_path}/none")
    builder = SavedBuilder(name="b", driver="docker-container", nodes=(node,))

    with pytest.raises(MachineError) as caught:
        driver_of(builder, node, {}).status()

    assert str(caught.value) == (
        f"failed to connect to the docker API at {node.endpoint}: No such file or directory"
    )
