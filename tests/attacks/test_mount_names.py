"""Mounts of a RUN whose names lead elsewhere: ids of caches, sources and targets, by `..` and by links.

BuildKit: CVE-2024-23651 (a source of a cache that is a link); buildah: CVE-2024-9675 (an id of a cache that is a
path), CVE-2024-1753, CVE-2024-9407 (bind mounts that lead outside); `polyarch run` as well.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]


@pytest.fixture
def victim(who: Person) -> Path:
    """A file of the machine that the builder could read, and builds mustn't."""
    return who.write("../victim/secret", "OF-THE-MACHINE").parent


def build(who: Person, registry: RealRegistry, *lines: str) -> Ended:
    base = f"FROM {registry.host}/library/busybox"
    who.write("Dockerfile", "\n".join((f"{base} AS base", *lines, "")))
    return who.run("build", "--progress=plain", "--no-cache", ".")


def test_ids_of_caches_are_no_paths(who: Person, registry: RealRegistry, victim: Path) -> None:
    up = "../" * 12
    ids = (f"{up}{str(victim)[1:]}", str(victim), "..", ".", "a/../../b", "%2e%2e", "x\\0y")
    steps = [
        f"RUN --mount=type=cache,target=/c,id={each} cat /c/secret || touch /c/x" for each in ids
    ]

    ended = build(who, registry, *steps)

    assert ended.status == 0, ended.err
    assert "OF-THE-MACHINE" not in ended.err
    assert os.listdir(victim) == ["secret"]


def test_sources_stay_in_what_they_are_of(
    who: Person, registry: RealRegistry, victim: Path
) -> None:
    """The image has a directory at the same path, which is the one that links and `..` lead to."""
    up = "../" * 12
    inside = f"mkdir -p {victim} && echo of-the-image > {victim}/secret"
    links = (
        f"mkdir /l && ln -s {victim} /l/a && ln -s {up}{str(victim)[1:]} /l/b && ln -s /l/a /l/c"
    )
    sources = ("/l/a", "/l/b", "/l/c", f"{up}{str(victim)[1:]}", "/l/../../" + str(victim)[1:])
    steps = [
        f"RUN --mount={kind},from=evil,source={source},target=/m cat /m/secret; touch /m/OWNED; true"
        for source in sources
        for kind in ("type=bind,rw", "type=bind", "type=cache")
    ]

    ended = build(
        who, registry, "FROM base AS evil", f"RUN {inside} && {links}", "FROM base", *steps
    )

    assert ended.status == 0, ended.err
    assert ended.err.count(" of-the-image\n") == len(steps)
    assert "OF-THE-MACHINE" not in ended.err
    assert os.listdir(victim) == ["secret"]


@pytest.mark.parametrize("target", ["/../../../../../../{}", "/l/in", "/../proc/self/root/{}"])
def test_targets_stay_in_the_root(
    who: Person, registry: RealRegistry, victim: Path, target: str
) -> None:
    place = target.format(str(victim)[1:])
    mounts = f"--mount=type=tmpfs,target={place} --mount=type=cache,target={place}/c"

    build(who, registry, f"RUN ln -s {victim} /l", f"RUN {mounts} touch {place}/OWNED")

    assert os.listdir(victim) == ["secret"]


@pytest.mark.parametrize("directory", ["/proc/self/fd/4", "/proc/self/root", "/dev/fd/5"])
def test_run_begins_in_the_image(root: Person, registry: RealRegistry, directory: str) -> None:
    ended = root.run("run", "-w", directory, f"{registry.host}/library/busybox", "ls", "-a")

    assert (ended.status, ended.out) == (125, "")
    assert f"the working directory {directory} can't be entered" in ended.err
