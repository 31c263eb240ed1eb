"""What nodes are made of in a cluster: docker buildx's objects, and nothing that the API's schemas don't have."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from kubernetes.client import ApiClient

from polyarch.builders.values import BuilderNode
from polyarch.drivers.kubernetes.manifest import manifest_of
from polyarch.drivers.kubernetes.options import read_cluster_options
from polyarch.errors import InputError
from polyarch.platforms import linux
from tests.support.network.schemas import problems

PROBE = {
    "exec": {"command": ["buildctl", "debug", "workers"]},
    "failureThreshold": 3,
    "initialDelaySeconds": 5,
    "periodSeconds": 30,
    "successThreshold": 1,
    "timeoutSeconds": 60,
}


def made(node: BuilderNode, **options: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the documents that are sent for a node, after they were compared with the schemas."""
    manifest = manifest_of(node, read_cluster_options(options), "builds")
    write = ApiClient().sanitize_for_serialization
    workload, settings = write(manifest.workload), [write(each) for each in manifest.settings]
    assert problems(workload, f"V1{workload['kind']}") == []
    assert [problems(each, "V1ConfigMap") for each in settings] == [[]] * len(settings)
    assert manifest.keeps_state == (workload["kind"] == "StatefulSet")
    return workload, settings


def test_a_deployment() -> None:
    workload, settings = made(BuilderNode(name="my_b0", flags=("--debug",)))

    labels = {"app": "my-b0"}
    assert settings == []
    assert workload == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "my-b0", "namespace": "builds", "labels": labels, "annotations": {}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {}},
                "spec": {
                    "containers": [
                        {
                            "name": "buildkitd",
                            "image": "moby/buildkit:buildx-stable-1",
                            "args": ["--debug"],
                            "env": [],
                            "securityContext": {"privileged": True},
                            "readinessProbe": PROBE,
                            "livenessProbe": PROBE,
                            "resources": {"requests": {}, "limits": {}},
                            "volumeMounts": [],
                        }
                    ]
                },
            },
        },
    }


def test_all_that_may_be_asked_for() -> None:
    files = {"buildkitd.toml": b"debug = true", "certs/a/ca.pem": b"a", "certs/b/ca.pem": b"b"}
    node = BuilderNode(
        name="b0",
        platforms=(linux("arm64"), linux("arm", "v7")),
        files={name: b64encode(data).decode() for name, data in files.items()},
    )

    workload, settings = made(
        node,
        **{
            "replicas": "2",
            "requests.cpu": "1",
            "requests.ephemeral-storage": "1Gi",
            "limits.memory": "1Gi",
            "nodeselector": "disk=ssd",
            "annotations": "a=b",
            "labels": "c=d",
            "tolerations": "key=k,operator=Exists,tolerationSeconds=60",
            "serviceaccount": "s",
            "schedulername": "t",
            "qemu.install": "true",
            "env.A": "b",
        },
    )

    pods = workload["spec"]["template"]["spec"]
    daemon = pods["containers"][0]
    annotations = {"a": "b", "buildx.docker.com/platform": "linux/arm64,linux/arm/v7"}
    assert workload["spec"]["replicas"] == 2
    assert workload["spec"]["selector"] == {"matchLabels": {"app": "b0", "c": "d"}}
    assert workload["metadata"]["annotations"] == annotations
    assert workload["spec"]["template"]["metadata"]["annotations"] == annotations
    assert (pods["serviceAccountName"], pods["schedulerName"]) == ("s", "t")
    assert pods["nodeSelector"] == {"disk": "ssd"}
    assert pods["tolerations"] == [{"key": "k", "operator": "Exists", "tolerationSeconds": 60}]
    assert pods["initContainers"] == [
        {
            "name": "qemu",
            "image": "tonistiigi/binfmt:latest",
            "args": ["--install", "all"],
            "securityContext": {"privileged": True},
        }
    ]
    assert daemon["env"] == [{"name": "A", "value": "b"}]
    assert daemon["resources"] == {
        "requests": {"cpu": "1", "ephemeral-storage": "1Gi"},
        "limits": {"memory": "1Gi"},
    }
    assert daemon["volumeMounts"] == [
        {"name": "config", "mountPath": "/etc/buildkit"},
        {"name": "config-1", "mountPath": "/etc/buildkit/certs/a"},
        {"name": "config-2", "mountPath": "/etc/buildkit/certs/b"},
    ]
    assert pods["volumes"] == [
        {"name": name, "configMap": {"name": f"b0-{name}"}}
        for name in ("config", "config-1", "config-2")
    ]
    assert [(each["metadata"]["name"], each["data"]) for each in settings] == [
        ("b0-config", {"buildkitd.toml": "debug = true"}),
        ("b0-config-1", {"ca.pem": "a"}),
        ("b0-config-2", {"ca.pem": "b"}),
    ]


def test_without_root() -> None:
    workload, _ = made(BuilderNode(name="b0"), rootless="true")

    name = "container.apparmor.security.beta.kubernetes.io/buildkitd"
    assert workload["spec"]["template"]["metadata"]["annotations"] == {name: "unconfined"}
    pods = workload["spec"]["template"]["spec"]
    daemon = pods["containers"][0]
    assert daemon["args"] == ["--oci-worker-no-process-sandbox"]
    assert daemon["securityContext"] == {"seccompProfile": {"type": "Unconfined"}}
    assert daemon["volumeMounts"] == [
        {"name": "buildkitd", "mountPath": "/home/user/.local/share/buildkit"}
    ]
    assert pods["volumes"] == [{"name": "buildkitd", "emptyDir": {}}]


@pytest.mark.parametrize(
    ("options", "name", "place"),
    [
        ({}, "buildkit-memory", "/var/lib/buildkit"),
        ({"rootless": "true"}, "buildkitd", "/home/user/.local/share/buildkit"),
    ],
)
def test_state_in_memory(options: dict[str, str], name: str, place: str) -> None:
    workload, _ = made(BuilderNode(name="b0"), **{"buildkit-root-volume-memory": "1Gi"}, **options)

    pods = workload["spec"]["template"]["spec"]
    assert pods["containers"][0]["volumeMounts"] == [{"name": name, "mountPath": place}]
    assert pods["volumes"] == [{"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "/var/lib/buildkit"),
        ({"rootless": "true"}, "/home/user/.local/share/buildkit"),
        ({"buildkit-root-volume-memory": "1Gi"}, "/var/lib/buildkit"),
    ],
)
def test_state_that_stays(options: dict[str, str], place: str) -> None:
    node = BuilderNode(name="b0", files={"buildkitd.toml": ""})
    workload, _ = made(node, **{"persistent-volume-claim.requests.storage": "9Gi"}, **options)

    spec = workload["spec"]
    assert workload["kind"] == "StatefulSet"
    assert (spec["serviceName"], spec["podManagementPolicy"]) == ("buildkitd", "Parallel")
    assert spec["template"]["spec"]["containers"][0]["volumeMounts"] == [
        {"name": "config", "mountPath": "/etc/buildkit"},
        {"name": "buildkitd", "mountPath": place},
    ]
    assert [each["name"] for each in spec["template"]["spec"]["volumes"]] == ["config"]
    assert spec["volumeClaimTemplates"] == [
        {
            "metadata": {"name": "buildkitd"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "9Gi"}},
            },
        }
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"labels": "app=x"},
            'the label "app" is reserved and cannot be customized',
        ),
        (
            {"annotations": "buildx.docker.com/platform=x"},
            'the annotation "buildx.docker.com/platform" is reserved and cannot be customized',
        ),
    ],
)
def test_what_is_not_the_users(options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        made(BuilderNode(name="b0"), **options)

    assert str(caught.value) == message


def test_the_schemas_refuse_what_they_do_not_have() -> None:
    workload, _ = made(BuilderNode(name="b0"))
    workload["spec"]["replicas"] = "1"
    workload["spec"]["template"]["spec"]["containers"][0]["imagePullPolic"] = "x"
    del workload["spec"]["selector"]

    assert problems(workload, "V1Deployment") == [
        ".spec.replicas is no int: '1'",
        ".spec.template.spec.containers[0].imagePullPolic isn't in the schema",
        ".spec: Invalid value for `selector`, must not be `None`",
    ]
