"""Podman as a program: what it is asked, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.engine.podman import Podman, find_podman
from polyarch.errors import MachineError
from polyarch.exporter.outputs import EngineKind
from polyarch.oci.reference import parse

_SCRIPT = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
case "$1 $2" in
"load --quiet") cat > "$(dirname "$0")/given"; echo "Loaded image: sha256:1234" ;;
"manifest rm") exit 1 ;;
"manifest create") echo "$_CONTAINERS_ROOTLESS_UID" > "$(dirname "$0")/user" ;;
"tag bad") echo "no such image" >&2; exit 125 ;;
esac
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "podman"
    path.write_text(_SCRIPT)
    path.chmod(0o755)
    return path


def asked(program: Path) -> list[str]:
    return program.with_name("asked").read_text().splitlines()


def test_it_is_found_on_the_path(program: Path) -> None:
    found = find_podman({"PATH": str(program.parent)})

    assert found is not None
    assert (found.program, found.name, found.kind()) == (str(program), "podman", EngineKind.LISTS)
    assert find_podman({"PATH": "/nowhere"}) is None


def test_an_image_is_given_and_its_id_returned(program: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"an archive")
    with (tmp_path / "archive").open("rb") as archive:
        assert Podman(program=str(program), environ={}).load(archive, 10) == "1234"

    assert (tmp_path / "given").read_bytes() == b"an archive"


def test_a_single_image_is_tagged(program: Path) -> None:
    Podman(program=str(program), environ={}).give_names([parse("a:1"), parse("b")], ["1234"])

    assert asked(program) == [
        "tag 1234 docker.io/library/a:1",
        "tag 1234 docker.io/library/b:latest",
    ]


def test_several_become_a_manifest_list_whatever_had_the_name(program: Path) -> None:
    podman = Podman(program=str(program), environ={"PATH": "/bin:/usr/bin"}, user=1000)
    name = "docker.io/library/a:1"

    podman.give_names([parse("a:1")], ["12", "34"])

    assert asked(program) == [
        f"manifest rm {name}",
        f"untag {name} {name}",
        f"manifest create {name}",
        f"manifest add {name} containers-storage:12",
        f"manifest add {name} containers-storage:34",
    ]
    assert program.with_name("user").read_text() == "1000\n"


def test_what_podman_complains_of(program: Path) -> None:
    with pytest.raises(MachineError, match="podman tag failed: no such image"):
        Podman(program=str(program), environ={}).give_names([parse("a")], ["bad"])
