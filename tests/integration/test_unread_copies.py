"""COPY --from of large files, which nobody reads for a key: what must be found in the cache is, and nothing else."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.images.layouts import read_archive, validate
from tests.support.images.soundness import faults
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS make
COPY recipe /recipe
RUN sh /recipe >/big; echo small >/small
FROM {base}
COPY --from=make /big /small /to/
RUN cut -c 1-3 /to/big >/start
"""
COPY = "COPY --from=make /big /small /to/"
READ = "RUN cut -c 1-3 /to/big >/start"
MAKE = {"COPY recipe /recipe", "RUN sh /recipe >/big; echo small >/small"}
PLATFORMS = "--platform=linux/amd64,linux/arm64"


def recipe(letter: str, size: int = 100_000, remark: str = "") -> str:
    return f"# {remark}\nhead -c {size} /dev/zero | tr '\\0' {letter}\n"


@pytest.fixture
def project(who: Person, registry: RealRegistry) -> Person:
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    return who


def built(who: Person, text: str, *words: str) -> dict[str, str]:
    """Build with a recipe; return why steps ran, by instruction."""
    who.write("recipe", text)
    said = who.run("build", "--explain", "--progress=quiet", *words, ".").check().err
    lines = [line.partition(": not cached: ") for line in said.splitlines() if line[:1] == "#"]
    return {head.partition("] ")[2]: reason for head, _, reason in lines}


def content(who: Person, name: str) -> list[bytes]:
    """Return a file of the image that the last build gave, of each platform."""
    found = []
    for image in validate(read_archive((who.work / "image.tar").read_bytes())).images:
        for layer in image.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                if name in tar.getnames():
                    stream = tar.extractfile(name)
                    assert stream is not None
                    found.append(stream.read())
    return found


ARCHIVE = "-otype=oci,dest=image.tar"


def test_an_edit_with_the_same_output_is_a_hit(project: Person) -> None:
    assert {COPY, READ} <= set(built(project, recipe("a")))

    assert set(built(project, recipe("a", remark="edited"))) == MAKE
    assert built(project, recipe("a", remark="edited")) == {}
    assert built(project, recipe("a")) == {}


def test_an_edit_with_other_output_of_the_same_size_is_none(project: Person) -> None:
    built(project, recipe("a"))

    reasons = built(project, recipe("b"), ARCHIVE)

    assert set(reasons) == {*MAKE, COPY, READ}
    assert reasons[COPY] == "/big differs"
    assert reasons[READ] == f"{COPY} before it changed: /big differs"
    assert content(project, "to/big") == [b"b" * 100_000]
    assert content(project, "start") == [b"bbb\n"]


def test_a_file_of_another_size_is_told_by_its_size(project: Person) -> None:
    built(project, recipe("a"))

    assert (
        built(project, recipe("a", 100_001))[COPY] == "/big differs (100000 bytes → 100001 bytes)"
    )


def test_every_earlier_output_is_found_again(project: Person) -> None:
    for letter in "abc":
        built(project, recipe(letter))

    for letter in "bac":
        assert set(built(project, recipe(letter, remark="again"), ARCHIVE)) == MAKE
        assert content(project, "to/big") == [letter.encode() * 100_000]


def test_an_output_is_found_though_the_stage_was_collected(project: Person) -> None:
    built(project, recipe("a"), "-t", "kept")
    project.run("prune", "--force").check()

    reasons = built(project, recipe("a"))

    assert set(reasons) == MAKE
    assert all("its earlier result is gone" in reason for reason in reasons.values())
    assert faults(project) == [[], []]


def test_a_copy_that_was_collected_runs_again(project: Person) -> None:
    built(project, recipe("a"))
    project.run("prune", "--force").check()

    assert {COPY, READ} <= set(built(project, recipe("a")))
    assert set(built(project, recipe("a", remark="edited"))) == MAKE


TWO_PLATFORMS = """\
FROM --platform=$BUILDPLATFORM {base} AS make
ARG TARGETARCH
RUN head -c 100000 /dev/zero | tr '\\0' {letter} >/big; : $TARGETARCH
FROM scratch
COPY --from=make /big /big
"""


def copied(texts: Iterable[str]) -> int:
    """Count the copies that ran, in logs of builds."""
    steps: dict[tuple[int, str], dict[str, str]] = {}
    for number, text in enumerate(texts):
        for line in text.splitlines():
            for step in json.loads(line).get("vertexes", ()) if line.startswith("{") else ():
                steps[number, step["digest"]] = step
    return sum("COPY --from" in each["name"] and not each.get("cached") for each in steps.values())


@pytest.mark.parametrize(("letter", "expected"), [("a", "aa"), ("${TARGETARCH#a}", "mr")])
def test_equal_outputs_for_two_platforms_are_copied_once(
    root: Person, registry: RealRegistry, letter: str, expected: str
) -> None:
    base = f"{registry.host}/library/busybox"
    root.write("Dockerfile", TWO_PLATFORMS.format(base=base, letter=letter))

    said = root.run("build", "--progress=rawjson", PLATFORMS, ARCHIVE, ".").check().err

    assert copied([said]) == len(set(expected))
    assert content(root, "big") == [each.encode() * 100_000 for each in expected]


def test_equal_outputs_of_builds_side_by_side_are_copied_once(project: Person) -> None:
    running: list[subprocess.Popen[bytes]] = []
    for number in range(3):
        directory = Path(f"c{number}")
        project.write(f"{directory}/recipe", recipe("a", remark=f"{number}"))
        words = ("build", "--progress=rawjson", "-fDockerfile", "-otype=cacheonly", f"{directory}")
        running.append(project.start(*words))
    said = [child.communicate(timeout=120)[1].decode() for child in running]

    assert [child.returncode for child in running] == [0, 0, 0], said
    assert copied(said) == 1
