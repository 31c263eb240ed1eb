"""A request in the words of BuildKit's frontend."""

from __future__ import annotations

from polyarch.request.frontend import frontend_attributes, hide_secrets
from polyarch.request.limits import Resources, Ulimit
from polyarch.request.make import make_request


def test_what_is_asked_for_and_nothing_else() -> None:
    request = make_request(
        ".",
        dockerfile="docker/Other.Dockerfile",
        platforms=["linux/arm/v7", "linux/amd64", "windows(10.0.17763)/amd64"],
        target="app",
        build_args={"V": "1"},
        build_contexts={"docs": "../docs", "alpine": "docker-image://alpine:3"},
        labels={"a.b": "c"},
        no_cache_filter=["one", "two"],
        network="none",
        add_hosts=["h=1.2.3.4", "h=::1"],
        shm_size=1 << 20,
        ulimits=[Ulimit(name="nofile", soft=10, hard=20)],
        resources=Resources(memory=4096, cpuset_cpus="0-1"),
        pull=True,
    )

    assert frontend_attributes(request) == {
        "filename": "Other.Dockerfile",
        "platform": "linux/arm/v7,linux/amd64,windows(10.0.17763)/amd64",
        "target": "app",
        "build-arg:V": "1",
        "context:docs": "local:docs",
        "context:alpine": "docker-image://alpine:3",
        "label:a.b": "c",
        "no-cache": "one,two",
        "force-network-mode": "none",
        "add-hosts": "h=1.2.3.4,h=::1",
        "shm-size": "1048576",
        "ulimit": "nofile=10:20",
        "memory": "4096",
        "cpusetcpus": "0-1",
        "image-resolve-mode": "pull",
    }


def test_a_context_elsewhere_and_no_cache_at_all() -> None:
    request = make_request(
        "https://git.example/app.git#main", dockerfile="sub/Dockerfile", no_cache=True
    )

    assert frontend_attributes(request) == {
        "context": "https://git.example/app.git#main",
        "filename": "sub/Dockerfile",
        "no-cache": "",
    }


def test_arguments_that_look_secret_are_not_published() -> None:
    told = hide_secrets(
        {
            "build-arg:GITHUB_TOKEN": "a",
            "build-arg:db_password": "b",
            "build-arg:VERSION": "c",
            "target": "token",
        }
    )

    assert told == {
        "build-arg:GITHUB_TOKEN": "xxxxx",
        "build-arg:db_password": "xxxxx",
        "build-arg:VERSION": "c",
        "target": "token",
    }
