"""Commands on builders whose daemons are pods of a cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.machine.commands import Printed, call
from tests.support.network.kubernetesapi import FakeCluster, fake_cluster, kubeconfig

CREATE = ("create", "--driver=kubernetes", "--name=b")
NETWORK = "--allow-insecure-entitlement=network.host"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.program = ("sh", "-c", "echo no daemon >&2; exit 1", "sh")
        yield cluster


@pytest.fixture
def cluster(server: FakeCluster, tmp_path: Path) -> Iterator[FakeCluster]:
    kubeconfig(server, tmp_path / ".kube/config")
    yield server
    server.forbidden = set()
    for found in server.objects.values():
        found.clear()


def run(home: Path, *words: str, **variables: str) -> Printed:
    environ = {"HOME": str(home), "POLYARCH_ROOT": str(home / "store"), **variables}
    return call(*words, environ=environ)


def saved(home: Path, directory: str = ".docker/buildx") -> dict[str, Any]:
    document: dict[str, Any] = json.loads((home / directory / "instances/b").read_text())
    return document


def query(endpoint: str) -> Mapping[str, list[str]]:
    return parse_qs(urlsplit(endpoint).query, keep_blank_values=True)


def test_a_builder_of_a_cluster(cluster: FakeCluster, tmp_path: Path) -> None:
    made = run(tmp_path, *CREATE, "--platform=linux/arm64", "--driver-opt=namespace=mine")
    listed = run(tmp_path, "ls", "--format={{.Name}} {{.Status}}").out.splitlines()
    inspected = run(tmp_path, "inspect", "--bootstrap", "b")
    there = sorted(cluster.objects["deployments"])
    stopped = run(tmp_path, "stop", "b")
    kept = cluster.names("pods")
    removed = run(tmp_path, "rm", "b")

    assert (made.status, made.out) == (0, "b\n"), made.err
    assert listed == ["b ", "b0 inactive", "default ", "default running"]
    assert "[internal] booting buildkit" in inspected.err
    assert "waiting for 1 pods to be ready, timeout: 2 minutes" in inspected.err
    assert "Driver: kubernetes\n" in inspected.out
    assert f"BuildKit daemon flags: {NETWORK}\n" in inspected.out
    assert "Platforms:             linux/arm64*\n" in inspected.out
    assert inspected.out.count("the builder at kubernetes://mine/b0 hung up: no daemon\n") == 1
    assert there == ["mine/b0"]
    assert (stopped.status, kept) == (0, ["b0-7c9b8f6d5-0"])
    assert (removed.status, removed.err) == (0, "b removed\n")
    assert cluster.is_empty


def test_what_buildx_reads_of_it(cluster: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("debug = true\n")
    flags = (f"--buildkitd-config={tmp_path}/b.toml", "--buildkitd-flags=--debug")
    config = str(tmp_path / ".kube/config")

    run(tmp_path, *CREATE, *flags, "--driver-opt=replicas=2,timeout=1m", KUBECONFIG=config)

    found = saved(tmp_path)
    (node,) = found.pop("Nodes")
    asked = query(node.pop("Endpoint"))
    assert found == {"Name": "b", "Driver": "kubernetes", "Dynamic": False}
    assert asked["kubeconfig"] == [config]
    assert asked["deployment"][0].startswith("buildkit-")
    assert len(asked["deployment"][0]) <= 63
    assert node == {
        "Name": "b0",
        "Platforms": None,
        "DriverOpts": {"replicas": "2", "timeout": "1m"},
        "Flags": ["--debug", NETWORK],
        "Files": {"buildkitd.toml": base64.b64encode(b"debug = true\n").decode()},
    }


def test_one_that_buildx_made(cluster: FakeCluster, tmp_path: Path) -> None:
    path = tmp_path / ".docker/buildx/instances/b"
    path.parent.mkdir(parents=True)
    node = {
        "Name": "b0",
        "Endpoint": "kubernetes:///b?deployment=buildkit-1&kubeconfig=",
        "Platforms": None,
        "DriverOpts": {"loadbalance": "random"},
        "Flags": [NETWORK],
        "Files": None,
    }
    path.write_text(
        json.dumps({"Name": "b", "Driver": "kubernetes", "Nodes": [node], "Dynamic": False})
    )

    inspected = run(tmp_path, "inspect", "--bootstrap", "b")
    pods = cluster.names("pods")
    removed = run(tmp_path, "rm", "b")

    assert 'Driver Options:        loadbalance="random"\n' in inspected.out
    assert pods == ["b0-7c9b8f6d5-0"]
    assert (removed.err, cluster.is_empty, path.exists()) == ("b removed\n", True, False)


def test_nodes_come_and_go(cluster: FakeCluster, tmp_path: Path) -> None:
    run(tmp_path, *CREATE, "--platform=linux/amd64")
    append = ("create", "--append", "--name=b")
    added = run(
        tmp_path, *append, "--node=b_arm", "--platform=linux/arm64", "--driver-opt=nodeselector=a=b"
    )
    changed = run(tmp_path, "create", "--name=b", "--node=b0", "--driver-opt=replicas=3")
    booted = run(tmp_path, "inspect", "--bootstrap", "b")
    nodes = saved(tmp_path)["Nodes"]
    left = run(tmp_path, "create", "--leave", "--name=b", "--node=b_arm")

    assert [each.status for each in (added, changed, booted, left)] == [0] * 4, added.err
    assert [each["DriverOpts"] for each in nodes] == [{"replicas": "3"}, {"nodeselector": "a=b"}]
    assert query(nodes[1]["Endpoint"])["deployment"] == ["b_arm"]
    assert cluster.names("deployments") == ["b-arm", "b0"]
    assert len(cluster.names("pods")) == 4


def test_a_context_of_the_kubeconfig(cluster: FakeCluster, tmp_path: Path) -> None:
    """Docker buildx would take the current one: such a builder isn't among its own."""
    made = run(tmp_path, *CREATE, "--bootstrap", "token")
    unknown = run(tmp_path, "create", "--driver=kubernetes", "--name=c", "nowhere")
    as_buildx = run(
        tmp_path,
        "create",
        "--driver=kubernetes",
        "--name=d",
        "token",
        POLYARCH_PLUGIN="buildx",
        POLYARCH_STANDIN="buildx",
    )

    assert made.status == 0, made.err
    assert not (tmp_path / ".docker/buildx/instances").exists()
    (node,) = saved(tmp_path, ".config/polyarch/builders")["Nodes"]
    assert query(node["Endpoint"])["context"] == ["token"]
    assert 'has no context "nowhere"' in unknown.err
    assert 'ERROR: kubernetes driver does not support endpoint args "token"\n' in as_buildx.err
    run(tmp_path, "rm", "b")
    assert cluster.is_empty


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--driver-opt=foo=1",),
            "failed to initialize builder b (b0): invalid driver option foo for driver kubernetes",
        ),
        (("--driver-opt=labels=app=x",), 'the label "app" is reserved'),
        (("--buildkitd-flags='",), "failed to parse buildkit flags: No closing quotation"),
    ],
)
def test_what_can_not_be_made(
    cluster: FakeCluster, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    ended = run(tmp_path, *CREATE, *words)

    assert (ended.status, message in ended.err) == (1, True), ended.err
    assert not list(tmp_path.rglob("instances/b"))


@pytest.mark.parametrize(
    ("words", "forbidden", "message"),
    [
        (("stranger",), "", "doesn't know who asks: Unauthorized"),
        ((), "GET deployments", 'forbids it: deployments.apps "b0" is forbidden'),
    ],
)
def test_a_cluster_that_refuses_says_so_when_it_is_asked(
    cluster: FakeCluster, tmp_path: Path, words: tuple[str, ...], forbidden: str, message: str
) -> None:
    cluster.forbidden = {forbidden}

    made = run(tmp_path, *CREATE, *words)
    booted = run(tmp_path, "inspect", "--bootstrap", "b")

    assert (made.status, made.out) == (0, "b\n"), made.err
    assert (booted.status, message in booted.err) == (1, True), booted.err


def test_a_cluster_that_is_gone_keeps_no_builder(cluster: FakeCluster, tmp_path: Path) -> None:
    run(tmp_path, *CREATE)
    (tmp_path / ".kube/config").unlink()

    listed = run(tmp_path, "ls")
    removed = run(tmp_path, "rm", "b")

    told = f"there is no cluster: {tmp_path}/.kube/config doesn't exist, and this is no pod of one"
    assert f"Failed to get status for b (b0): {told}\n" in listed.err
    assert f"failed to remove b: failed to remove node b0: {told}\n" in removed.err
    assert not list(tmp_path.rglob("instances/b"))


@pytest.mark.parametrize(
    ("flag", "claims", "sets"), [("--keep-state", 1, 0), ("--keep-daemon", 1, 1)]
)
def test_what_rm_keeps(
    cluster: FakeCluster, tmp_path: Path, flag: str, claims: int, sets: int
) -> None:
    storage = "--driver-opt=persistent-volume-claim.requests.storage=1Gi"
    run(tmp_path, *CREATE, "--bootstrap", storage)

    run(tmp_path, "rm", flag, "b")

    found = (cluster.names("persistentvolumeclaims"), cluster.names("statefulsets"))
    assert tuple(map(len, found)) == (claims, sets)


def test_a_cluster_that_is_not_there_yet(tmp_path: Path) -> None:
    config = tmp_path / ".kube/config"
    config.parent.mkdir()
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "n"}}
    config.write_text(
        json.dumps(
            {
                "clusters": [cluster],
                "users": [{"name": "u", "user": {}}],
                "contexts": [context],
                "current-context": "c",
            }
        )
    )

    made = run(tmp_path, *CREATE)
    refused = run(tmp_path, *CREATE, "--append", "--driver-opt=nope=1")
    booted = run(tmp_path, "create", "--driver=kubernetes", "--name=d", "--bootstrap")

    assert (made.status, made.out) == (0, "b\n"), made.err
    assert len(saved(tmp_path)["Nodes"]) == 1
    assert "failed to initialize builder b (b1): invalid driver option nope" in refused.err
    assert booted.status != 0
    assert "the cluster at 127.0.0.1:9 can't be reached" in booted.err
    assert (tmp_path / ".docker/buildx/instances/d").exists()
