"""Options of pods with daemons, and what of them can't be read."""

from __future__ import annotations

import pytest

from polyarch.drivers.kubernetes.options import ClusterOptions, read_cluster_options
from polyarch.errors import InputError


def test_all_options() -> None:
    found = read_cluster_options(
        {
            "image": "b:1",
            "namespace": "n",
            "replicas": "3",
            "requests.cpu": "500m",
            "requests.memory": "1.5Gi",
            "requests.ephemeral-storage": "1e3",
            "limits.cpu": "2",
            "limits.memory": "",
            "limits.ephemeral-storage": "10G",
            "persistent-volume-claim.requests.storage": "20Gi",
            "buildkit-root-volume-memory": "4Gi",
            "rootless": "true",
            "schedulername": "s",
            "serviceaccount": "a",
            "nodeselector": '"kubernetes.io/arch=arm64,disk=ssd"',
            "annotations": "a=b",
            "labels": "c=d",
            "tolerations": "key=foo,value=bar;key=foo2,operator=exists;effect=NoExecute,tolerationSeconds=60",
            "loadbalance": "random",
            "qemu.install": "1",
            "qemu.image": "q:1",
            "default-load": "true",
            "timeout": "1m30s",
            "env.A": "b=c",
        }
    )

    assert found == ClusterOptions(
        image="b:1",
        namespace="n",
        replicas=3,
        requests={"cpu": "500m", "memory": "1.5Gi", "ephemeral-storage": "1e3"},
        limits={"cpu": "2", "ephemeral-storage": "10G"},
        storage="20Gi",
        memory_volume="4Gi",
        rootless=True,
        scheduler="s",
        service_account="a",
        node_selector={"kubernetes.io/arch": "arm64", "disk": "ssd"},
        annotations={"a": "b"},
        labels={"c": "d"},
        tolerations=(
            {"key": "foo", "value": "bar"},
            {"key": "foo2", "operator": "exists"},
            {"effect": "NoExecute", "tolerationSeconds": "60"},
        ),
        loadbalance="random",
        installs_emulators=True,
        emulators="q:1",
        seconds=90.0,
        environ={"A": "b=c"},
    )


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ({}, "moby/buildkit:buildx-stable-1"),
        ({"image": ""}, "moby/buildkit:buildx-stable-1"),
        ({"rootless": "true"}, "moby/buildkit:buildx-stable-1-rootless"),
        ({"rootless": "true", "image": "b"}, "b"),
    ],
)
def test_the_image(options: dict[str, str], image: str) -> None:
    assert read_cluster_options(options).whole_image == image


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("foo", "1", "invalid driver option foo for driver kubernetes"),
        ("requests.gpu", "1", "invalid driver option requests.gpu for driver kubernetes"),
        ("replicas", "x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "replicas",
            "3000000000",
            'strconv.ParseInt: parsing "3000000000": value out of range',
        ),
        ("rootless", "x", 'strconv.ParseBool: parsing "x": invalid syntax'),
        ("limits.memory", "1gb", 'invalid limits.memory: "1gb" is no quantity'),
        ("nodeselector", "a", "cannot parse node selector: invalid key-value pair: a"),
        ("labels", "a=b=c", "cannot parse labels: invalid key-value pair: a=b=c"),
        ("tolerations", "kind=a", 'invalid toleration "kind=a"'),
        ("tolerations", "tolerationSeconds=a", 'strconv.ParseInt: parsing "a": invalid syntax'),
        ("loadbalance", "round", 'invalid loadbalance "round"'),
        ("timeout", "1", 'cannot parse timeout: time: missing unit in duration "1"'),
        ("env.", "1", 'invalid env option "env.", expecting env.FOO=bar'),
    ],
)
def test_what_the_driver_does_not_know(name: str, value: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_cluster_options({name: value})

    assert str(caught.value) == message
