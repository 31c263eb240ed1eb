"""The command line and programs ask for the same by the same rules."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyarch.cli.building.build import BUILD
from polyarch.cli.building.request import read_flags, read_request
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import parse_flags
from polyarch.errors import InputError, InvalidPlatform, InvalidReference
from polyarch.request.limits import Ulimit
from polyarch.request.make import make_request
from polyarch.request.values import BuildRequest, Output, Secret
from polyarch.request.vcs import with_git
from tests.support.images.platforms import ARM64


def typed(*words: str) -> BuildRequest:
    """Return the request of a command line."""
    context = Context(
        program="polyarch",
        environ={"HOME": "/nonexistent", "TOKEN": "x"},
        stdin=io.TextIOWrapper(io.BytesIO(b"FROM scratch")),
        stdout=io.StringIO(),
        stderr=io.StringIO(),
        builder="",
    )
    options = parse_flags(BUILD.flags, words, mixed=True)
    return read_request(options, read_flags(options, context.environ), context).request


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--platform=linux/arm64,linux/arm"], {"platforms": ["linux/arm64", "linux/arm/v7"]}),
        (["--platform=linux/arm64/v8"], {"platforms": [ARM64]}),
        (["--push", "-t", "a", "-t", "docker.io/library/a:latest"], {"push": True, "tags": "a"}),
        (["-t", "a", "--load"], {"tags": ["a"], "load": True}),
        (["--push", "-o", "type=image,name=x/y"], {"push": True, "outputs": (
            Output(type="image", attributes={"name": "x/y"}),)}),
        (["-o", "out"], {"outputs": [Output(type="local", destination="out")]}),
        (["--network=host"], {"network": "host"}),
        (["--emulation=strict"], {"emulation": "strict"}),
        (["--allow=network.host", "--network=host"], {"network": "host", "allow": ["network.host"]}),
        (["--no-cache-filter=a", "--no-cache-filter=b"], {"no_cache_filter": ["a", "b"]}),
        (["--no-cache", "--pull"], {"no_cache": True, "pull": True}),
        (["--build-arg=A=1", "--label=b=2"], {"build_args": {"A": "1"}, "labels": {"b": "2"}}),
        (["--ulimit=nofile=1:2"], {"ulimits": [Ulimit(name="nofile", soft=1, hard=2)]}),
        (["--shm-size=1m", "-f", "x"], {"shm_size": 1 << 20, "dockerfile": Path("x")}),
        (["--add-host=a:1.2.3.4"], {"add_hosts": ["a=1.2.3.4"]}),
        (["--secret=id=TOKEN"], {"secrets": [Secret(id="TOKEN", env="TOKEN")]}),
        (["-f", "-"], {"dockerfile": "-", "stdin": b"FROM scratch"}),
    ],
)  # fmt: skip
def test_flags_and_keywords_make_the_same_request(words: list[str], options: Any) -> None:
    asked = make_request(".", needs_digest=False, **options)

    assert typed(*words, ".") == with_git(asked, {})


def test_an_image_without_a_name_is_made_for_its_digest() -> None:
    assert make_request(".").outputs == (Output(type="image"),)
    assert make_request(".", needs_digest=False).outputs == ()


def test_a_lone_text_stands_for_itself() -> None:
    request = make_request(Path("x"), platforms="linux/arm64", tags="a/b")

    assert (request.platforms, request.tags) == ((ARM64,), ("docker.io/a/b:latest",))
    assert request.context == "x"


@pytest.mark.parametrize(
    ("make", "kind", "complaint"),
    [
        (lambda: make_request(tags="A"), InvalidReference, 'invalid tag "A": '),
        (lambda: make_request(platforms="linux/a/b/c"), InvalidPlatform, "cannot parse platform"),
        (lambda: make_request(push=True), InputError, "tag is needed when pushing"),
        (
            lambda: make_request(network="bridge"),
            InputError,
            'network mode "bridge" is not supported',
        ),
        (
            lambda: make_request(no_cache=True, no_cache_filter=["a"]),
            InputError,
            "cannot currently be used together",
        ),
        (
            lambda: make_request(outputs=[Output(type="image", attributes={"push": "maybe"})]),
            InputError,
            'parsing "maybe": invalid syntax',
        ),
        (
            lambda: make_request(tag="a"),  # type: ignore[call-arg]
            TypeError,
            "a build has no option tag",
        ),
    ],
)
def test_what_cant_be_is_refused(
    make: Callable[[], object], kind: type[Exception], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        make()
