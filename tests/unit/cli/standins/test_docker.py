"""docker's command lines -> commands of ours."""

from __future__ import annotations

import sys

import pytest

from polyarch.cli.frame.command import Context
from polyarch.cli.standins.docker import docker_call
from polyarch.errors import InputError
from polyarch.late import load


def context(**environ: str) -> Context:
    return Context(
        program="docker", environ=environ, stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr
    )


@pytest.mark.parametrize(
    ("line", "name", "words"),
    [
        ("build -t a .", "build", "--load -t a ."),
        ("build --push .", "build", "--push ."),
        ("builder build -oout .", "builder build", "-oout ."),
        ("image build .", "image build", "--load ."),
        ("image ls -q", "image ls", "-q"),
        ("image rm a", "image rm", "a"),
        ("image remove a", "image rm", "a"),
        ("images", "images", ""),
        ("inspect a", "inspect", "a"),
        ("manifest create a b", "manifest create", "a b"),
        ("--debug version", "version", ""),
        ("-v", "version", "--short"),
        ("run --rm a ls -v", "run", "--rm a ls -v"),
        ("system info", "system info", ""),
        ("context list", "context ls", ""),
        ("", "info", "--commands"),
    ],
)
def test_commands(line: str, name: str, words: str) -> None:
    called = docker_call(line.split(), context())

    assert called.entry is not None
    assert (called.entry.name, called.words) == (name, words.split())
    assert load(f"cli.{called.entry.at}")


def test_buildx_is_our_own_command_line() -> None:
    called = docker_call(["--config", "/c", "buildx", "build", "."], context())

    assert (called.entry, called.words) == (None, ["build", "."])
    assert called.context.program == "docker buildx"
    assert called.context.environ["DOCKER_CONFIG"] == "/c"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ps -a", "docker ps isn't there: this docker is polyarch"),
        ("compose up", "docker compose isn't there: this docker is polyarch"),
        ("biuld .", "unknown command: docker biuld (did you mean build?)"),
    ],
)
def test_what_needs_an_engine_is_refused(line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        docker_call(line.split(), context())

    assert message in str(caught.value)
