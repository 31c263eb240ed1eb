"""What provenance tells of a request, and what it hides."""

from __future__ import annotations

from polyarch.attest.parameters import Parameters, hidden_values, masked, parameters
from polyarch.platforms import linux
from polyarch.record import replace
from polyarch.request.values import BuildRequest


def test_the_machine_is_not_told_of() -> None:
    request = BuildRequest(
        context="/home/me/app",
        dockerfile="/home/me/app/Other",
        platforms=(linux("arm64"),),
        target="app",
        cgroup_parent="group",
        pull=True,
        no_cache=True,
        build_args={"VERSION": "2"},
        labels={"l": "1"},
        build_contexts={"files": "/home/me/files", "base": "oci-layout:///home/me/base:v1"},
        vcs={"vcs:revision": "ab" * 20},
    )

    assert parameters(request) == Parameters(
        args={
            "build-arg:VERSION": "2",
            "context:base": "oci-layout:base",
            "context:files": "local:files",
            "frontend.caps": "moby.buildkit.frontend.contexts+forward",
            "label:l": "1",
            "no-cache": "",
            "target": "app",
        },
        vcs={"revision": "ab" * 20},
        path="Other",
    )


def test_secrets_are_not_told() -> None:
    secrets = {"PASSWORD": "hunter22", "HTTP_PROXY": "http://me:pw@proxy.test", "TOKEN": "abc"}
    request = BuildRequest(context="-", build_args=secrets)

    told = parameters(request)

    assert told.args == {
        "build-arg:HTTP_PROXY": "http://xxxxx:xxxxx@proxy.test",
        "build-arg:PASSWORD": "xxxxx",
        "build-arg:TOKEN": "xxxxx",
        "dockerfilekey": "dockerfile",
    }
    assert told.hides
    assert hidden_values(request) == ("hunter22",)  # "abc" may be a part of anything
    assert masked("RUN login hunter22", hidden_values(request)) == "RUN login xxxxx"


def test_contexts_that_are_fetched_have_their_address() -> None:
    address = "https://me:pw@example.test/a.git#main:sub"
    request = BuildRequest(context=address, dockerfile="d/Dockerfile")

    told = parameters(request)

    assert (told.context, told.path) == (
        "https://xxxxx:xxxxx@example.test/a.git#main:sub",
        "d/Dockerfile",
    )
    assert parameters(replace(request, dockerfile="")).path == "Dockerfile"
