"""What a build shows, with all parts real: pushes, digests that are pinned, totals, kept logs, emulation."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]


def write(who: Person, registry: RealRegistry, *steps: str) -> None:
    who.write("Dockerfile", "\n".join((f"FROM {registry.host}/library/busybox", *steps, "")))


def events(ended: Ended, kind: str) -> list[dict[str, object]]:
    """Return the events of a kind that `--progress=rawjson` tells of."""
    lines = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    return [event for line in lines for event in line.get(kind, ())]


def index_digest(who: Person, registry: RealRegistry) -> str:
    name = f"{registry.host}/library/busybox"
    shown = who.run("imagetools", "inspect", name, "--format={{.Manifest.Digest}}").check()
    return shown.out.strip()


def test_a_push_is_a_line_for_each_blob(root: Person, registry: RealRegistry) -> None:
    write(root, registry, "RUN head -c 3000000 /dev/urandom > /a")
    words = ("build", "--progress=plain", "-t", f"{registry.host}/shown", "--push", ".")

    ended = root.run(*words).check()

    pushed = re.findall(r"^#\d+ pushing (\w+) (sha256:\S+) .*?( done)?$", ended.err, re.MULTILINE)
    lines = Counter(digest for _, digest, _ in pushed)
    assert sorted(kind for kind, _, done in pushed if done) == ["config", "layer", "layer"]
    assert max(lines.values()) <= 2


@pytest.mark.parametrize("pin", [True, False])
def test_a_base_is_shown_with_the_digest_to_pin(
    root: Person, registry: RealRegistry, *, pin: bool
) -> None:
    name, digest = f"{registry.host}/library/busybox", index_digest(root, registry)
    root.write("Dockerfile", f"FROM {name}{f'@{digest}' if pin else ''}\nRUN true\n")

    ended = root.run("build", "--progress=plain", "--platform=linux/arm64", ".").check()

    shown = f"{name}@{digest}" if pin else f"{name}:latest@{digest}"
    assert re.search(rf"^#\d+ \[1/2\] FROM {re.escape(shown)}$", ended.err, re.MULTILINE)


def test_all_steps_are_counted_before_the_first_runs(root: Person, registry: RealRegistry) -> None:
    write(root, registry, "RUN echo a", "RUN echo b", "RUN echo c")

    ended = root.run("build", "--progress=rawjson", "-t", "app", "-o", "type=oci,dest=x", ".")

    steps = events(ended.check(), "vertexes")
    begun = next(
        place
        for place, each in enumerate(steps)
        if "started" in each and "1/4" in str(each["name"])
    )
    assert {each["digest"] for each in steps} == {each["digest"] for each in steps[:begun]}
    ended_steps = {each["digest"] for each in steps if "completed" in each}
    assert ended_steps == {each["digest"] for each in steps}


def test_what_is_clipped_is_kept_where_the_remark_says(who: Person, registry: RealRegistry) -> None:
    write(who, registry, "RUN for i in $(seq 9); do echo line $i; done")
    who.environ["BUILDKIT_STEP_LOG_MAX_SIZE"] = "20"

    ended = who.run("build", "--progress=plain", ".").check()

    (path,) = re.findall(r"\[all of it: (.*)\]", ended.err)
    assert Path(path).read_text() == "".join(f"line {number}\n" for number in range(1, 10))
    assert (Path(path).owner(), Path(path).stat().st_mode & 0o777) == (who.user.name, 0o600)
    assert Path(path).parent.parent == who.root / "logs"
    who.run("build", ".").check()
    assert len(list((who.root / "logs").iterdir())) == 1


def test_an_emulated_step_is_marked_and_its_history_is_not(
    who: Person, registry: RealRegistry
) -> None:
    write(who, registry, "RUN echo a > /a")
    words = ("--platform=linux/amd64,linux/arm64", "--output=type=oci,tar=false,dest=image", ".")

    plain = who.run("build", "--progress=plain", *words).check()
    raw = who.run("build", "--progress=rawjson", "--no-cache", *words).check()

    assert re.findall(r"^#\d+ (emulated by qemu-aarch64.*)$", plain.err, re.MULTILINE)
    names = {each["digest"]: str(each["name"]) for each in events(raw, "vertexes")}
    marks = [each for each in events(raw, "statuses") if str(each["id"]).startswith("emulated by")]
    assert [names[each["vertex"]] for each in marks] == ["[linux/arm64 2/2] RUN echo a > /a"]
    blobs = [path.read_bytes() for path in (who.work / "image/blobs/sha256").iterdir()]
    assert not any(b"emulated" in data or b"qemu" in data for data in blobs if data[:1] == b"{")
