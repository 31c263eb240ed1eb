"""Daemons in pods of a cluster, from their creation to their removal."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from polyarch.builders.clusters import cluster_endpoint
from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.buildkit.build import build_remotely
from polyarch.buildkit.nodes import look_at
from polyarch.drivers.driver import Status
from polyarch.drivers.kubernetes.choosing import choose_pod
from polyarch.drivers.nodes import driver_of
from polyarch.errors import Cancelled, InputError, MachineError, RemoteError
from polyarch.pipeline.apart import bake_on_nodes
from polyarch.pipeline.nodes import build_on_nodes
from polyarch.progress import CancelToken, Event, StatusEvent, cancellable, ignore_events
from polyarch.record import replace
from polyarch.release import BUILDKIT_RELEASE
from polyarch.request.make import make_request
from polyarch.request.values import Output
from tests.support.fakes.engine import BASE, fake_engine
from tests.support.images.trees import plant
from tests.support.network.buildkitserver import serving_buildkit
from tests.support.network.clusternodes import BRIDGE, driver
from tests.support.network.kubernetesapi import FakeCluster


def test_a_life(cluster: FakeCluster, tmp_path: Path) -> None:
    node = driver(cluster, tmp_path)
    found = [node.status()]
    for act in (node.boot, node.boot):
        act(ignore_events)
        found.append(node.status())
    node.stop()
    found.append(node.status())
    pods = cluster.names("pods")
    node.remove(keeps_state=False)
    node.remove(keeps_state=False)
    found.append(node.status())

    running = Status.RUNNING
    assert found == [Status.INACTIVE, running, running, running, Status.INACTIVE]
    assert pods == ["b0-7c9b8f6d5-0"]
    assert cluster.is_empty


@pytest.mark.parametrize("context", ["certificate", "files", "token"])
@pytest.mark.parametrize("protocol", ["v4", "v5"])
def test_a_build_in_a_pod(
    cluster: FakeCluster, tmp_path: Path, context: str, protocol: str
) -> None:
    cluster.protocols = (f"{protocol}.channel.k8s.io",)
    node = driver(cluster, tmp_path, context)
    text = "text" * (1 << 18)
    root = plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\nCOPY a /\n", "a": text})
    request = make_request(
        root,
        attestations=(),
        outputs=(Output(type="local", destination=str(tmp_path / "out")),),
    )
    with fake_engine(tmp_path) as engine, serving_buildkit(engine, tmp_path):
        cluster.program = (*BRIDGE, str(tmp_path / "buildkitd.sock"))
        node.boot(ignore_events)
        state = look_at(node.remote())
        build_remotely(node.remote(), request, sink=ignore_events, cancel=CancelToken())
        cluster.wait_for_programs()
    node.remove(keeps_state=False)

    assert (state.error, state.version) == ("", BUILDKIT_RELEASE)
    assert (tmp_path / "out/a").read_text() == text
    assert cluster.execs[-1] == ("b0-7c9b8f6d5-0", ("buildctl", "dial-stdio"))


def test_state_that_is_kept(cluster: FakeCluster, tmp_path: Path) -> None:
    options = {"persistent-volume-claim.requests.storage": "1Gi", "replicas": "2"}
    node = driver(cluster, tmp_path, options=options)
    node.boot(ignore_events)
    pods = cluster.names("pods")
    node.remove(keeps_state=True)
    kept = {
        kind: cluster.names(kind) for kind in ("pods", "statefulsets", "persistentvolumeclaims")
    }
    node.remove(keeps_state=False)

    claims = ["buildkitd-b0-0", "buildkitd-b0-1"]
    assert pods == ["b0-0", "b0-1"]
    assert kept == {"pods": [], "statefulsets": [], "persistentvolumeclaims": claims}
    assert cluster.is_empty


def test_settings_of_another_time_are_replaced(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.objects["configmaps"]["builds/b0-config"] = {"metadata": {"name": "b0-config"}}
    node = driver(cluster, tmp_path, files={"buildkitd.toml": "ZGVidWcgPSB0cnVl"})

    node.boot(ignore_events)

    found = cluster.objects["configmaps"]["builds/b0-config"]
    assert found["data"] == {"buildkitd.toml": "debug = true"}
    node.remove(keeps_state=False)
    assert cluster.is_empty


def test_pods_become_ready_in_their_time(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.waiting = "ContainerCreating"
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, StatusEvent) and event.is_remark:
            cluster.become_ready()

    driver(cluster, tmp_path).boot(watch)

    told = [each.id for each in events if isinstance(each, StatusEvent)]
    assert told == [
        "waiting for 1 pods to be ready, timeout: 2 minutes",
        "b0-7c9b8f6d5-0: ContainerCreating: back-off pulling",
        "waiting for 1 pods to be ready, timeout: 2 minutes",
    ]


def test_waiting_can_be_cancelled(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.waiting = "ContainerCreating"
    token = CancelToken()

    with cancellable(token), pytest.raises(Cancelled):
        driver(cluster, tmp_path).boot(lambda _event: token.cancel())


def test_answers_of_something_else(cluster: FakeCluster, tmp_path: Path) -> None:
    node = driver(cluster, tmp_path)
    node.boot(ignore_events)
    del cluster.objects["deployments"]["builds/b0"]["spec"]["selector"]

    with pytest.raises(RemoteError, match=r"answers what its API doesn't have: Invalid value for"):
        node.status()


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("GET deployments", 'deployments.apps "b0" is forbidden'),
        ("POST deployments", "deployments.apps is forbidden"),
        ("POST configmaps", "configmaps is forbidden"),
    ],
)
def test_what_is_forbidden(cluster: FakeCluster, tmp_path: Path, verb: str, message: str) -> None:
    cluster.forbidden = {verb}
    node = driver(cluster, tmp_path, files={"buildkitd.toml": ""})

    with pytest.raises(MachineError) as caught:
        node.boot(ignore_events)

    host = cluster.server.removeprefix("https://")
    assert str(caught.value).startswith(f"the cluster at {host} forbids it: {message}: User")
    assert cluster.names("deployments") == []


def test_a_stranger(cluster: FakeCluster, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"doesn't know who asks: Unauthorized$"):
        driver(cluster, tmp_path, "stranger").status()


def test_a_server_with_a_certificate_of_nobody(cluster: FakeCluster, tmp_path: Path) -> None:
    path = tmp_path / "config"
    document = yaml.safe_load(path.read_text())
    del document["clusters"][0]["cluster"]["certificate-authority-data"]
    path.write_text(yaml.safe_dump(document))

    with pytest.raises(RemoteError, match=r"can't be reached: its certificate isn't trusted: "):
        driver(cluster, tmp_path).status()


def test_a_server_that_is_not_there(cluster: FakeCluster, tmp_path: Path) -> None:
    path = tmp_path / "config"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        path.write_text(path.read_text().replace(cluster.server, f"https://{address}"))

        with pytest.raises(RemoteError) as caught:
            driver(cluster, tmp_path).status()

    assert str(caught.value) == f"the cluster at {address} can't be reached: Connection refused"


def test_a_daemon_that_is_not_in_its_pod(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.program = (*BRIDGE, "/none/buildkitd.sock")
    node = driver(cluster, tmp_path)
    node.boot(ignore_events)

    state = look_at(node.remote())

    assert state.error == (
        "the builder at kubernetes://builds/b0 hung up: "
        "error: dial unix /none/buildkitd.sock: connect: No such file or directory"
    )


def test_a_pod_that_dies(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.program = ("sh", "-c", "head -c 100 >/dev/null; kill -9 $$", "sh")
    node = driver(cluster, tmp_path)
    node.boot(ignore_events)
    request = make_request(plant(tmp_path / "context", {"Dockerfile": "FROM scratch\n"}))

    with pytest.raises(RemoteError, match=r"b0 hung up: command terminated with exit code 137$"):
        build_remotely(node.remote(), request, sink=ignore_events, cancel=CancelToken())


def test_a_pod_by_its_address(cluster: FakeCluster, tmp_path: Path) -> None:
    """Where there is no kubectl, its client library does the same."""
    cluster.objects["pods"]["other/p"] = {"metadata": {"name": "p"}}
    cluster.program = (*BRIDGE, "/none/buildkitd.sock")
    environ = {"KUBECONFIG": str(tmp_path / "config"), "PATH": str(tmp_path)}
    node = BuilderNode(name="b0", endpoint="kube-pod://p?namespace=other&container=c&context=token")

    remote = driver_of(
        SavedBuilder(name="b", driver="remote", nodes=(node,)), node, environ
    ).remote()
    error = look_at(remote).error

    assert cluster.execs[-1] == ("p", ("buildctl", "dial-stdio"))
    assert error.startswith(f"the builder at {node.endpoint} hung up: error: dial unix /none/")


@pytest.mark.parametrize("is_bake", [False, True])
def test_builds_of_a_directory_have_one_pod(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_bake: bool
) -> None:
    """The pod is chosen by the context; all builds of a bake go by the directory that it is called in."""
    monkeypatch.chdir(tmp_path)
    environ = {"KUBECONFIG": str(tmp_path / "config"), "DOCKER_CONFIG": "/nonexistent"}
    endpoint = cluster_endpoint("b", "", "", environ)
    node = BuilderNode(name="b0", endpoint=endpoint, driver_opts={"replicas": "9"})
    builder = SavedBuilder(name="b", driver="kubernetes", nodes=(node,))
    requests = {}
    for name in ("one", "two"):
        plant(tmp_path / name, {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
        requests[name] = make_request(name, attestations=())
    with fake_engine(tmp_path) as engine, serving_buildkit(engine, tmp_path):
        cluster.program = (*BRIDGE, str(tmp_path / "buildkitd.sock"))
        cluster.execs.clear()
        doing = replace(engine, environ=environ)
        token = CancelToken()
        if is_bake:
            bake_on_nodes(
                doing, requests, builder=builder, sink=lambda _name: ignore_events, cancel=token
            )
        else:
            for request in requests.values():
                build_on_nodes(doing, builder, request, sink=ignore_events, cancel=token)
        cluster.wait_for_programs()

    keys = [tmp_path] if is_bake else [tmp_path / "one", tmp_path / "two"]
    pods = {choose_pod(cluster.names("pods"), str(key), is_random=False): None for key in keys}
    assert {pod for pod, _ in cluster.execs} == pods.keys()


def test_pods_that_are_chosen_at_random_hand_nothing_on(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    environ = {"KUBECONFIG": str(tmp_path / "config"), "DOCKER_CONFIG": "/nonexistent"}
    options = {"replicas": "2", "loadbalance": "random"}
    endpoint = cluster_endpoint("b", "", "", environ)
    node = BuilderNode(name="b0", endpoint=endpoint, driver_opts=options)
    root = plant(tmp_path / "context", {"Dockerfile": "FROM scratch\n"})
    requests = {
        "app": make_request(root, build_contexts={"below": "target:base"}),
        "base": make_request(root),
    }
    with fake_engine(tmp_path) as engine, serving_buildkit(engine, tmp_path):
        cluster.program = (*BRIDGE, str(tmp_path / "buildkitd.sock"))
        with pytest.raises(InputError, match="which isn't pushed and needn't be built by the same"):
            bake_on_nodes(
                replace(engine, environ=environ),
                requests,
                builder=SavedBuilder(name="b", driver="kubernetes", nodes=(node,)),
                sink=lambda _name: ignore_events,
                cancel=CancelToken(),
            )
        cluster.wait_for_programs()


def test_without_the_library(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyarch.drivers.kubernetes.needs.is_there", lambda _name: False)

    with pytest.raises(MachineError) as caught:
        driver(cluster, tmp_path)

    assert caught.value.hint == "pip install 'polyarch[kubernetes]'"
