from __future__ import annotations

import sys
from pathlib import Path

import pytest

from demo.shell import CommandFailed, Shell
from demo.walkthrough import read_manifests

_SHOWN = """\
Name:      localhost:5000/you/hello-arch:latest
MediaType: application/vnd.oci.image.index.v1+json
Digest:    sha256:{}

Manifests:
  Name:      localhost:5000/you/hello-arch:latest@sha256:{}
  MediaType: application/vnd.oci.image.manifest.v1+json
  Platform:  linux/arm/v7

  Name:      localhost:5000/you/hello-arch:latest@sha256:{}
  MediaType: application/vnd.oci.image.manifest.v1+json
  Platform:  linux/arm64

  Name:      localhost:5000/you/hello-arch:latest@sha256:{}
  MediaType: application/vnd.oci.image.manifest.v1+json
  Platform:  unknown/unknown
""".format("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def test_images_are_read_with_their_platforms() -> None:
    name = "localhost:5000/you/hello-arch:latest"

    assert read_manifests(_SHOWN) == [
        ("linux/arm/v7", f"{name}@sha256:{'b' * 64}"),
        ("linux/arm64", f"{name}@sha256:{'c' * 64}"),
    ]


def test_a_command_is_shown_before_what_it_prints(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, {"GREETING": "Hello, arm!"})

    printed = shell.run("/bin/sh", "-c", 'echo "$GREETING"; pwd')

    assert printed == f"Hello, arm!\n{tmp_path}\n"
    shown = capfd.readouterr().out.splitlines()
    assert shown[:3] == ["$ /bin/sh -c 'echo \"$GREETING\"; pwd'", "Hello, arm!", str(tmp_path)]


def test_a_failing_command_ends_the_walk(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"-c 'exit\(3\)': exit status 3$"):
        Shell(tmp_path, {}).run(sys.executable, "-c", "exit(3)")
