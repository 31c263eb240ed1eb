"""`du` and `prune` on a store that real builds have filled."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3

import pytest

from tests.support.machine.programs import Person
from tests.support.machine.users import for_one_user
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base}
RUN --mount=type=cache,target=/cache echo kept > /cache/file && echo made > /made
RUN mkdir /private && chmod 700 /private && echo x > /private/x
COPY Dockerfile /copied
"""


def build(who: Person, registry: RealRegistry, *words: str) -> None:
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    who.run("build", "--platform=linux/amd64", *words, ".").check()


TITLES = ("ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED")


def records(who: Person, *words: str) -> list[dict[str, object]]:
    shown = who.run("du", "--format", "json", *words).check().out
    return [json.loads(line) for line in shown.splitlines()]


@for_one_user
def test_usage_tells_of_every_step(who: Person, registry: RealRegistry) -> None:
    build(who, registry, "-o", "type=cacheonly")
    found = records(who)

    kinds = sorted(str(each["Type"]) for each in found)
    assert kinds == ["exec.cachemount", "regular", "regular", "regular", "regular"]
    assert all(each["Size"] != "0B" and each["Reclaimable"] for each in found)
    (copy,) = [each for each in found if "COPY" in str(each["Description"])]
    assert (copy["Mutable"], copy["Shared"], copy["UsageCount"]) == (False, False, 1)
    parents = copy["Parents"]
    assert isinstance(parents, list)
    assert len(parents) == 3
    table = who.run("du").check().out
    assert table.splitlines()[0].split() == [*TITLES, "DESCRIPTION"]
    assert table.splitlines()[-1].startswith("Total:\t\t")
    assert "Total:" not in who.run("du", "--filter", "type=regular").check().out
    assert max(map(len, table.splitlines())) <= 80
    assert str(copy["ID"]) not in table
    assert str(copy["ID"]) in who.run("du", "--no-trunc").check().out
    descriptions = {str(each["Description"]).partition(" ")[0] for each in found}
    assert descriptions == {"pulled", "cached", "mount", "[stage-0"}


def test_prune_removes_all_that_no_image_has(who: Person, registry: RealRegistry) -> None:
    build(who, registry, "-t", "kept")
    refused = who.run("prune").check()
    kept = who.run("prune", "--force").check()

    assert refused.out.startswith("WARNING! This will remove all dangling build cache.")
    assert "exec.cachemount" not in {str(each["Type"]) for each in records(who)}
    assert len(records(who, "--filter", "shared=true")) == 4
    assert kept.out.splitlines()[-1].startswith("Total:\t")
    who.run("prune", "--all", "--force").check()
    assert records(who) == []
    assert who.run("run", "--rm", "kept", "cat", "/made").check().out == "made\n"
    again = who.run("build", "--platform=linux/amd64", ".").check().err
    assert re.findall(r"^#(\d+) CACHED", again, re.MULTILINE) == ["3"]  # FROM, by the run before


def test_nothing_is_left_when_no_image_is(who: Person, registry: RealRegistry) -> None:
    build(who, registry, "-t", "gone")
    who.run("rmi", "gone").check()

    pruned = who.run("prune", "--force").check().out.splitlines()

    assert len(pruned) == 7
    left = [path for path in (who.root / "blobs").rglob("*") if path.is_file()]
    # What the base image's name stood for is kept for builds without a network: an index, a manifest, a config.
    kinds = [
        {"manifests", "layers", "rootfs"} & set(json.loads(each.read_bytes())) for each in left
    ]
    assert sorted(map(sorted, kinds)) == [["layers"], ["manifests"], ["rootfs"]]
    assert list((who.root / "snapshots").iterdir()) == []
    with contextlib.closing(sqlite3.connect(who.root / "state.db")) as database:
        assert database.execute("SELECT count(*) FROM records").fetchall() == [(0,)]


def test_bounds_and_filters(root: Person, registry: RealRegistry) -> None:
    build(root, registry, "-o", "type=cacheonly")
    nothing = root.run("prune", "--force", "--filter", "until=1h").check().out
    also = root.run("prune", "--force", "--max-used-space", "1gb").check().out
    caches = root.run("prune", "--force", "--filter", "type=exec.cachemount", "--verbose").check()

    # The base image's manifest and config stay: what its name stood for is for builds without a network.
    assert nothing == also == "Total:\t0B\n"
    assert "Type:\t\texec.cachemount\n" in caches.out
    assert len(records(root)) == 4
    left = root.run("prune", "--force", "--max-used-space", "1kb", "--reserved-space", "1gb")
    assert left.check().out == "Total:\t0B\n"


def test_what_a_running_build_needs_stays(root: Person, registry: RealRegistry) -> None:
    base = f"{registry.host}/library/busybox"
    build(root, registry, "-o", "type=cacheonly")
    root.write(
        "Dockerfile",
        DOCKERFILE.format(base=base)
        + "RUN echo ready && while [ ! -e /never ]; do sleep 0.05; done\n",
    )
    running = root.start("build", "--platform=linux/amd64", "--progress=plain", ".")
    try:
        assert running.stderr is not None
        while b"ready" not in (line := running.stderr.readline()) or b"RUN echo ready" in line:
            assert line, "the build ended"
        pruned = root.run("prune", "--all", "--force").check()
        in_use = {str(each["Reclaimable"]) for each in records(root)}
    finally:
        running.terminate()
        running.communicate()

    # The step that used the cache was found, and what it copies has changed: no need of these two.
    assert [line.split("-")[0] for line in pruned.out.splitlines()[1:-1]] == ["cache", "step"]
    assert pruned.err == ""
    assert in_use == {"False"}
    assert len(root.run("prune", "--all", "--force").check().out.splitlines()) == 6
