"""Options of containers with daemons, and what of them can't be read."""

from __future__ import annotations

import pytest

from polyarch.drivers.options import DEFAULT_IMAGE, ContainerOptions, RestartPolicy, read_options
from polyarch.errors import InputError


def test_all_options() -> None:
    found = read_options(
        {
            "image": "b:1",
            "network": "host",
            "memory": "1g",
            "memory-swap": "-1",
            "cpu-quota": "50000",
            "cpuset-cpus": "0-1",
            "cgroup-parent": "/b",
            "restart-policy": "on-failure:3",
            "env.A": "b=c",
            "default-load": "true",
            "provenance-add-gha": "false",
            "allow-untrusted-image": "1",
        }
    )

    assert found == ContainerOptions(
        image="b:1",
        network="host",
        limits={"memory": 1 << 30, "memory-swap": -1, "cpu-quota": 50000},
        cpuset_cpus="0-1",
        cgroup_parent="/b",
        restart=RestartPolicy(name="on-failure", most=3),
        environ=("A=b=c",),
    )


def test_without_options() -> None:
    found = read_options({"image": ""})

    assert (found.image, found.restart) == (DEFAULT_IMAGE, RestartPolicy(name="unless-stopped"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("foo", "1", "invalid driver option foo for docker-container driver"),
        ("memory", "x", "invalid size: 'x'"),
        ("cpu-quota", "x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("default-load", "maybe", 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("env.", "1", 'invalid env option "env.", expecting env.FOO=bar'),
        (
            "restart-policy",
            ":3",
            "invalid restart policy format: no policy provided before colon",
        ),
        (
            "restart-policy",
            "on-failure:x",
            "invalid restart policy format: maximum retry count must be an integer",
        ),
    ],
)
def test_what_the_driver_does_not_know(name: str, value: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_options({name: value})

    assert str(caught.value) == message
