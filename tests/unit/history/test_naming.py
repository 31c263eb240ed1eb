"""What builds are called; the names are those that buildx gives."""

from __future__ import annotations

import pytest

from polyarch.history.naming import build_name, repository_of
from polyarch.history.record import BuildRecord


@pytest.mark.parametrize(
    ("attributes", "state", "name"),
    [
        ({}, {}, ""),
        ({"build-arg:BUILDKIT_BUILD_NAME": "mine", "target": "t"}, {}, "mine"),
        ({}, {"LocalPath": "/home/me/app"}, "app"),
        ({}, {"LocalPath": "/home/me/app", "DockerfilePath": "/home/me/app/Dockerfile"}, "app"),
        ({}, {"LocalPath": "/home/me/app", "DockerfilePath": "/home/me/app/sub/Dockerfile"}, "app/sub"),
        ({}, {"LocalPath": "/home/me/app", "DockerfilePath": "/home/me/app/dev.Dockerfile"}, "app/dev.Dockerfile"),
        ({}, {"LocalPath": "/home/me/app", "DockerfilePath": "/etc/d/x.Dockerfile"}, "d/x.Dockerfile"),
        ({"target": "t"}, {"LocalPath": "/home/me/app"}, "app (t)"),
        ({"target": "t"}, {}, "t"),
        ({"context": "https://git.example/a.git"}, {"LocalPath": "https://git.example/a.git"}, "https://git.example/a.git"),
        ({"vcs:localdir:context": "sub"}, {"LocalPath": "/x/sub"}, "sub"),
        ({"vcs:source": "https://git.example/a.git"}, {"LocalPath": "-"}, "https://git.example/a.git"),
    ],
)  # fmt: skip
def test_names(attributes: dict[str, str], state: dict[str, str], name: str) -> None:
    assert build_name(BuildRecord(ref="r", attributes=attributes, state=state)) == name


@pytest.mark.parametrize(
    ("attributes", "repository"),
    [
        ({"vcs:source": "https://a.example/x"}, "https://a.example/x"),
        ({"context": "https://git.example/a.git#main:sub"}, "https://git.example/a.git"),
        ({"context": "https://web.example/a.tar"}, ""),
        ({}, ""),
    ],
)
def test_repositories(attributes: dict[str, str], repository: str) -> None:
    assert repository_of(BuildRecord(ref="r", attributes=attributes)) == repository
