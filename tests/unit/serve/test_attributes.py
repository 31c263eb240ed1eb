"""What a Dockerfile frontend is asked for, as requests; and back again by what asks daemons."""

from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.platforms import parse as parse_platform
from polyarch.record import replace
from polyarch.request.attestation import Attestation, attest_attributes
from polyarch.request.frontend import frontend_attributes
from polyarch.request.limits import Resources, Ulimit
from polyarch.request.values import BuildRequest
from polyarch.serve.attributes import read_request
from polyarch.serve.contexts import Found

FOUND = Found(context="/c", dockerfile="/d/Dockerfile")
FULL = BuildRequest(
    context="/c",
    dockerfile="/d/Dockerfile",
    platforms=(parse_platform("linux/amd64"), parse_platform("linux/arm/v7")),
    target="app",
    build_args={"A": "1", "B": "x=y,z"},
    labels={"l": "v"},
    no_cache_filter=("a", "b"),
    pull=True,
    network="none",
    add_hosts=("h=10.0.0.1", "h=::1"),
    shm_size=4096,
    ulimits=(Ulimit(name="nofile", soft=1, hard=2),),
    cgroup_parent="/x",
    resources=Resources(memory=1 << 20, cpu_shares=5, cpuset_cpus="0-1"),
    attestations=(Attestation(type="provenance", attributes={"mode": "max", "builder-id": "a,b"}),),
    vcs={"vcs:revision": "abc"},
)


@pytest.mark.parametrize("request_", [FULL, BuildRequest(context="/c", dockerfile="/d/Dockerfile")])
def test_what_daemons_are_asked_is_understood(request_: BuildRequest) -> None:
    attributes = {**frontend_attributes(request_), **attest_attributes(request_.attestations)}

    assert read_request(attributes, FOUND) == request_


@pytest.mark.parametrize(
    ("attributes", "changed"),
    [
        ({"no-cache": ""}, {"no_cache": True}),
        ({"multi-platform": "true"}, {"build_args": {"BUILDKIT_MULTI_PLATFORM": "true"}}),
        ({"hostname": "h"}, {"build_args": {"BUILDKIT_SANDBOX_HOSTNAME": "h"}}),
        ({"image-resolve-mode": "local"}, {}),
        ({"force-network-mode": "sandbox"}, {}),
        (
            {"ulimit": "nofile=7"},
            {"ulimits": (Ulimit(name="nofile", soft=7, hard=7),)},
        ),
        ({"attest:sbom": ""}, {"attestations": (Attestation(type="sbom"),)}),
        ({"attest:sbom": "disabled=true"}, {}),
        ({"cmdline": "x", "source": "y", "unknown": "z"}, {}),
    ],
)
def test_what_only_others_say(attributes: dict[str, str], changed: dict[str, object]) -> None:
    plain = BuildRequest(context="/c", dockerfile="/d/Dockerfile")

    assert read_request(attributes, FOUND) == replace(plain, **changed)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image-resolve-mode", "x", "invalid image-resolve-mode: x"),
        ("force-network-mode", "x", "invalid netmode x"),
        ("platform", "a/b/c/d/e", "a/b/c/d/e"),
        ("add-hosts", "x", "failed to parse additional hosts: invalid key-value pair x"),
        ("shm-size", "x", "failed to parse shm size"),
        ("ulimit", "x", "invalid ulimit argument: x"),
        ("memory", "x", "failed to parse resource limits"),
        ("attest:sbom", "x", 'failed to parse sbom: invalid attestation value "x"'),
    ],
)
def test_what_can_not_be(name: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_request({name: value}, FOUND)
