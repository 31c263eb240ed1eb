"""The commands of the main job, in order; `polyarch …` and `docker buildx …` take the same ones."""

from __future__ import annotations

import re

from demo.shell import Shell

__all__ = ["GREETINGS", "Greeting", "read_manifests", "walk"]

GREETINGS = {
    "linux/arm/v7": "Hello, arm!",
    "linux/arm64": "Hello, arm64!",
    "linux/amd64": "Hello, amd64!",
}

Greeting = tuple[str, str, str]
"""Platform, reference by digest, and what the image printed."""

_MANIFEST = re.compile(
    r"^ *Name: +(\S+@sha256:[0-9a-f]{64})\n(?:.*\n)*? *Platform: +(\S+)$", re.MULTILINE
)

_OF_NONE = "unknown/unknown"


def walk(shell: Shell, command: tuple[str, ...], name: str) -> list[Greeting]:
    """Build, inspect and run the image `name`, with `command` as the program's words."""

    def run(*words: str) -> str:
        return shell.run(*command, *words)

    run("create", "--use", "--name", "mybuilder")
    run("inspect", "mybuilder", "--bootstrap")
    run("ls")
    run("build", "-t", name, "--platform=linux/arm,linux/arm64,linux/amd64", ".", "--push")
    shown = run("imagetools", "inspect", name)
    greetings = [
        (platform, reference, run("run", "--rm", reference).strip())
        for platform, reference in read_manifests(shown)
    ]
    run("build", "--platform=linux/arm64", "-o", "type=docker,dest=../hello-arm64.tar", ".")
    shell.run("tar", "-tf", "../hello-arm64.tar")
    return greetings


def read_manifests(shown: str) -> list[tuple[str, str]]:
    """Return platform and reference of each image in what `imagetools inspect` printed.

    What is attested of an image is a manifest beside it, of no platform.
    """
    found = _MANIFEST.findall(shown)
    return [(platform, reference) for reference, platform in found if platform != _OF_NONE]
