"""Pods that don't come up, and those that can't be entered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.buildkit.nodes import look_at
from polyarch.drivers.driver import Status
from polyarch.errors import MachineError
from polyarch.progress import ignore_events
from polyarch.release import BUILDKIT_RELEASE
from tests.support.fakes.engine import fake_engine
from tests.support.network.buildkitserver import serving_buildkit
from tests.support.network.clusternodes import BRIDGE, driver
from tests.support.network.kubernetesapi import FakeCluster


def test_pods_that_never_become_ready_say_why(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.waiting, cluster.notes = "ImagePullBackOff", ('Failed to pull image "b": not found',)
    node = driver(cluster, tmp_path, options={"timeout": "0s", "namespace": "mine"})

    with pytest.raises(MachineError) as caught:
        node.boot(ignore_events)
    cluster.forbidden = {"GET events"}
    with pytest.raises(MachineError) as again:
        node.boot(ignore_events)

    pod = "b0-7c9b8f6d5-0"
    expected = (
        f"expected 1 replicas of b0 to be ready, got 0: {pod}: ImagePullBackOff: back-off pulling"
    )
    assert str(caught.value) == f'{expected}; {pod}: Failed: Failed to pull image "b": not found'
    assert str(again.value) == expected
    assert "kubectl --namespace=mine describe pods -l app=b0" in caught.value.hint
    assert (node.status(), look_at(node.remote()).error) == (
        Status.STOPPED,
        "no pod of b0 runs in the namespace mine",
    )


def test_pods_that_no_machine_takes_say_why(cluster: FakeCluster, tmp_path: Path) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    message = "0/1 nodes are available: 1 Insufficient cpu."
    cluster.state = {"phase": "Pending", "conditions": [{**condition, "message": message}]}

    with pytest.raises(MachineError) as caught:
        driver(cluster, tmp_path, options={"timeout": "0s"}).boot(ignore_events)

    assert str(caught.value) == (
        f"expected 1 replicas of b0 to be ready, got 0: b0-7c9b8f6d5-0: Unschedulable: {message}"
    )


ENDED = {"exitCode": 1, "reason": "Error"}
CONTAINER = {
    "name": "buildkitd", "image": "i", "imageID": "", "ready": False, "restartCount": 2
}  # fmt: skip
ENDINGS: Mapping[str, Mapping[str, object]] = {
    "begun anew": {"state": {"running": {}}, "lastState": {"terminated": ENDED}},
    "not begun anew": {"state": {"terminated": ENDED}},
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_daemons_that_end_again_and_again_say_why(
    cluster: FakeCluster, tmp_path: Path, ending: str
) -> None:
    """Such a pod runs, as far as its cluster is concerned."""
    cluster.state = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{**CONTAINER, **ENDINGS[ending]}],
    }
    cluster.printed = "usage\nbuildkitd: flag provided but not defined: -x\n"
    node = driver(cluster, tmp_path, options={"timeout": "0s"})

    with pytest.raises(MachineError) as caught:
        node.boot(ignore_events)
    cluster.forbidden = {"GET pods/log"}
    with pytest.raises(MachineError) as again:
        node.boot(ignore_events)

    ended = "b0-7c9b8f6d5-0: buildkitd ended with exit status 1"
    printed = (
        "b0-7c9b8f6d5-0: buildkitd printed: usage; buildkitd: flag provided but not defined: -x"
    )
    assert str(caught.value).endswith(f"{ended}; {printed}")
    assert str(again.value).endswith(ended)


def test_pods_that_are_ready_are_asked_first(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.program = ("sh", "-c", "exit 3")
    node = driver(cluster, tmp_path, options={"replicas": "5", "loadbalance": "random"})
    node.boot(ignore_events)
    for name in cluster.names("pods")[1:]:
        pod = cluster.objects["pods"][f"builds/{name}"]
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]

    told = {look_at(node.remote()).error for _ in range(3)}

    assert {name for name, _ in cluster.execs[-3:]} == {"b0-7c9b8f6d5-0"}
    assert told == {
        "the builder at kubernetes://builds/b0 hung up: command terminated with exit code 3"
    }


def test_a_machine_that_can_not_be_entered_yet_is_tried_again(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.troubles = [
        (500, "error dialing backend: remote error: tls: internal error"),
        (404, 'pods "b0-7c9b8f6d5-0" not found'),
    ]
    node = driver(cluster, tmp_path)
    node.boot(ignore_events)
    with fake_engine(tmp_path) as engine, serving_buildkit(engine, tmp_path):
        cluster.program = (*BRIDGE, str(tmp_path / "buildkitd.sock"))
        state = look_at(node.remote())
        cluster.wait_for_programs()

    assert (state.error, state.version) == ("", BUILDKIT_RELEASE)


def test_one_that_can_never_be_entered_is_told_in_the_end(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    refused = (500, "error dialing backend: dial tcp 10.0.0.1:10250: connect: connection refused")
    cluster.troubles = [refused] * 6
    node = driver(cluster, tmp_path)
    node.boot(ignore_events)

    error = look_at(node.remote()).error

    host = cluster.server.removeprefix("https://")
    assert error == (
        f"the cluster at {host}, asked to run buildctl in the pod b0-7c9b8f6d5-0, "
        f"answers 500: {refused[1]}"
    )
    assert len(cluster.troubles) == 1


def test_a_cluster_that_refuses_such_pods_says_why(cluster: FakeCluster, tmp_path: Path) -> None:
    node = driver(cluster, tmp_path, options={"timeout": "0s"})
    node.boot(ignore_events)
    conditions = [
        {"type": "Available", "status": "False", "reason": "A", "message": "no"},
        {"type": "ReplicaFailure", "status": "True", "reason": "R", "message": "violates P"},
    ]
    cluster.objects["deployments"]["builds/b0"]["status"] = {"conditions": conditions}
    cluster.objects["pods"].clear()

    with pytest.raises(MachineError) as caught:
        node.boot(ignore_events)

    assert str(caught.value) == "expected 1 replicas of b0 to be ready, got 0: R: violates P"


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        (
            "GET",
            ': User "tests" cannot get resource "pods/exec" in API group "" in the namespace "builds"',
        ),
        ("POST", ""),
    ],
)
def test_a_pod_that_nobody_may_enter(
    cluster: FakeCluster, tmp_path: Path, verb: str, reason: str
) -> None:
    cluster.forbidden = {f"{verb} pods/exec"}
    node = driver(cluster, tmp_path)
    node.boot(ignore_events)

    error = look_at(node.remote()).error

    host = cluster.server.removeprefix("https://")
    assert error == (
        f"the cluster at {host} forbids it, asked to run buildctl in the pod b0-7c9b8f6d5-0: "
        f'pods "b0-7c9b8f6d5-0" is forbidden{reason}'
    )
