"""`bake` for real: many targets and platforms, what they share done once, one target on another."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.runtime, pytest.mark.root]

FILE = """
variable "NUMBERS" { default = [for n in range(30) : format("%02d", n)] }
group "default" { targets = ["each", "on"] }
target "each" {
  name = "t${n}"
  matrix = { n = NUMBERS }
  args = { N = n }
  platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
  output = ["type=cacheonly"]
}
target "on" {
  contexts = { base = "target:t00" }
  platforms = ["linux/arm64"]
  dockerfile-inline = <<-EOT
    FROM base
    COPY again /again
  EOT
  output = ["type=local,dest=out"]
}
"""
DOCKERFILE = """
FROM scratch AS shared
COPY shared /shared
FROM scratch AS own
ARG N
COPY --from=shared /shared /shared
LABEL n=$N
COPY own-$N /own
"""


def bake(directory: Path, store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "polyarch", "bake", "--progress=plain", *words],
        cwd=directory,
        env={
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "POLYARCH_ROOT": str(store),
            "HOME": str(store),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def endings(log: str) -> list[tuple[str, str]]:
    """Return the steps of a log, and how each ended: DONE or CACHED."""
    names = dict(re.findall(r"^(#\d+) (\[.*)$", log, re.MULTILINE))
    ends = re.findall(r"^(#\d+) (DONE|CACHED)\b", log, re.MULTILINE)
    return [(names[number], end) for number, end in ends if number in names]


def test_thirty_targets_for_three_platforms_share_their_steps(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "docker-bake.hcl").write_text(FILE)
    (work / "Dockerfile").write_text(DOCKERFILE)
    for name in ("shared", "again", *(f"own-{n:02d}" for n in range(30))):
        (work / name).write_text(name)

    made = bake(work, tmp_path / "store", "--metadata-file", "m.json")

    assert made.returncode == 0, made.stderr
    ends = endings(made.stderr)
    shared = [end for name, end in ends if name.endswith("] COPY shared /shared")]
    assert sorted(shared) == ["CACHED"] * 30 + ["DONE"]
    own = [name for name, end in ends if "] COPY own-" in name and end == "DONE"]
    assert len(own) == len(set(own)) == 30
    assert sorted(each.name for each in (work / "out").iterdir()) == ["again", "own", "shared"]
    assert (work / "out" / "own").read_text() == "own-00"
    assert len(json.loads((work / "m.json").read_text())) == 31


def test_a_failure_names_the_target_and_what_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text(
        """
group "all" { targets = ["default", "other"] }
target "default" { contexts = { b = "target:base" } }
target "base" {}
target "other" {
  dockerfile-inline = "FROM scratch\\nCOPY there /\\n"
  output = ["out"]
}
"""
    )
    (tmp_path / "there").write_text("there")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY nosuch /\n")

    made = bake(tmp_path, tmp_path / "store", "--keep-going", "--metadata-file", "m.json", "all")

    assert made.returncode == 1
    assert "ERROR: failed to build: failed to solve: target base: " in made.stderr
    assert "; default depends on it" in made.stderr.splitlines()[-1]
    assert (tmp_path / "out" / "there").read_text() == "there"
    assert list(json.loads((tmp_path / "m.json").read_text())) == ["other"]


PARTS = """
group "default" { targets = ["app", "tools"] }
target "base" {
  platforms = ["linux/amd64", "linux/arm64"]
  dockerfile-inline = "FROM scratch\\nCOPY there /base\\n"
}
target "app" {
  contexts = { base = "target:base" }
  platforms = ["linux/amd64", "linux/arm64"]
  tags = ["registry.test/app:1"]
  dockerfile-inline = "FROM base\\nARG TARGETARCH\\nLABEL arch=$TARGETARCH\\n"
}
target "tools" {
  inherits = ["base"]
  platforms = ["linux/amd64"]
  tags = ["registry.test/tools"]
}
"""


def test_shards_are_joined_to_what_one_bake_makes(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text(PARTS)
    (tmp_path / "there").write_text("there")
    whole = bake(tmp_path, tmp_path / "store", "--metadata-file", "whole.json")
    assert whole.returncode == 0, whole.stderr

    for platform in ("amd64", "arm64"):
        shard = f"--shard=linux/{platform}"
        made = bake(tmp_path, tmp_path / platform, shard, "-o", f"parts-{platform}")
        assert made.returncode == 0, made.stderr
    assert not (tmp_path / "parts-arm64" / "tools").exists()
    parts = ("--join=parts-amd64", "--join=parts-arm64")
    joined = bake(tmp_path, tmp_path / "joined", *parts, "--metadata-file", "joined.json")

    assert joined.returncode == 0, joined.stderr
    found, expected = (
        json.loads((tmp_path / f"{n}.json").read_text()) for n in ("joined", "whole")
    )
    assert found["app"]["image.name"] == "registry.test/app:1"
    assert sorted(found) == ["app", "tools"]
    assert set(found["app"]) <= set(expected["app"])
    missing = bake(tmp_path, tmp_path / "joined", "--join=parts-arm64", "tools")
    assert "no shard has a part of target tools" in missing.stderr


def test_a_graph_shows_what_is_shared(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text(PARTS)
    (tmp_path / "there").write_text("there")

    text, made, svg = (
        bake(tmp_path, tmp_path / "store", f"--graph{form}") for form in ("", "=json", "=svg")
    )

    assert text.returncode == 0, text.stderr
    assert re.search(r"^app +1 +linux/amd64,linux/arm64 +1 +1 +base$", text.stdout, re.MULTILINE)
    assert "3 steps of 3 targets, of which 1 run" in text.stdout
    graph = json.loads(made.stdout)
    assert [each["name"] for each in graph["targets"]] == ["base", "app", "tools"]
    assert graph["shared"][0]["targets"] == ["base", "app", "tools"]
    assert svg.stdout.count("<rect") == 4
    assert svg.stdout.count('marker-end="url(#end)"') == 1
