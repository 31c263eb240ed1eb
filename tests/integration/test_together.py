"""Builds side by side on one store, beside a collection, and after an edit: each step runs once."""

from __future__ import annotations

import base64
import collections
import json
import re
import subprocess
from collections.abc import Iterable, Sequence

import pytest

from tests.support.images.soundness import faults, whole_platforms
from tests.support.machine.boxes import boxed
from tests.support.machine.engines import interpreter
from tests.support.machine.programs import Person
from tests.support.machine.users import for_users_each_with
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

PLATFORMS = "--platform=linux/amd64,linux/arm64"
MACHINES = ("x86_64", "aarch64")
STEPS = """\
FROM {base}
RUN echo "<first $(uname -m)>"; sleep 0.3; echo 1 > /one
COPY data /data
RUN echo "<second $(uname -m)>"; sleep 0.3; cat /one /data/* > /two
"""


def events(text: str) -> list[dict[str, list[dict[str, str]]]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def markers(texts: Iterable[str]) -> dict[str, int]:
    """Count what steps have printed in angle brackets, in all of these logs."""
    said = b""
    for text in texts:
        for event in events(text):
            said += b"".join(base64.b64decode(log["data"]) for log in event.get("logs", ()))
    return dict(collections.Counter(re.findall(r"<([^>]*)>", said.decode())))


def executed(text: str) -> set[str]:
    """Return the names of the steps that ran, rather than being cached."""
    latest = {step["digest"]: step for event in events(text) for step in event.get("vertexes", ())}
    return {
        re.sub(r" \d+/\d+\]", "]", step["name"])
        for step in latest.values()
        if step["name"].startswith("[linux/") and step.get("completed") and not step.get("cached")
    }


def words_of(name: str, *more: str) -> tuple[str, ...]:
    return ("build", "--progress=rawjson", PLATFORMS, "-t", name, "--push", *more, ".")


def run_together(who: Person, builds: Sequence[tuple[str, ...]]) -> list[str]:
    """Start all builds, then wait for all; return what they said."""
    running: list[subprocess.Popen[bytes]] = [who.start(*words) for words in builds]
    said = [child.communicate(timeout=120)[1].decode() for child in running]
    errors = [line for text in said for line in text.splitlines() if not line.startswith("{")]
    assert [child.returncode for child in running] == [0] * len(builds), errors
    return said


@for_users_each_with("number", 2, 4, 2)
def test_equal_builds_run_each_step_once(who: Person, registry: RealRegistry, number: int) -> None:
    name = f"{registry.host}/{who.user.name}/equal{number}"
    who.write("Dockerfile", STEPS.format(base=f"{registry.host}/library/busybox"))
    who.write("data/file", "content")
    builds = [words_of(name, f"--metadata-file=../m{each}") for each in range(number)]

    said = run_together(who, builds)

    once = {f"{step} {machine}": 1 for step in ("first", "second") for machine in MACHINES}
    assert markers(said) == once
    results = [json.loads((who.home / f"m{each}").read_text()) for each in range(number)]
    assert len({each["containerimage.digest"] for each in results}) == 1
    assert whole_platforms(registry, name) == ["amd64", "arm64"]
    assert faults(who) == [[], []]


def test_builds_that_begin_alike_share_the_beginning(root: Person, registry: RealRegistry) -> None:
    base = f"{registry.host}/library/busybox"
    root.write("data/file", "content")
    builds = []
    for letter in "ab":
        more = f'RUN echo "<{letter} $(uname -m)>" > /dev/stdout\n'
        root.write(f"Dockerfile.{letter}", STEPS.format(base=base) + more)
        builds.append(words_of(f"{registry.host}/alike/{letter}", f"-fDockerfile.{letter}"))

    said = run_together(root, builds)

    steps = ("first", "second", "a", "b")
    assert markers(said) == {f"{step} {machine}": 1 for step in steps for machine in MACHINES}


TWO_SOURCES = """\
FROM {base} AS one
COPY a /a
RUN cat /a > /1
FROM {base} AS two
COPY b /b
RUN cat /b > /2
FROM {base}
RUN true
COPY --from=one /1 /
COPY --from=two /2 /
"""


def test_an_edit_runs_what_depends_on_it(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", TWO_SOURCES.format(base=f"{registry.host}/library/busybox"))
    root.write("a", "1")
    root.write("b", "1")
    root.write("c", "1")
    words = words_of(f"{registry.host}/edited/image")
    first = executed(root.run(*words).check().err)
    assert len([each for each in first if "FROM" not in each]) == 7 * 2

    root.write("c", "2")
    assert executed(root.run(*words).check().err) == set()
    root.write("b", "2")
    edited = executed(root.run(*words).check().err)
    assert edited == {
        f"[linux/{architecture} {step}"
        for architecture in ("amd64", "arm64")
        for step in (
            "two] COPY b /b",
            "two] RUN cat /b > /2",
            "stage-2] COPY --from=two /2 /",
        )
    }
    (root.work / "b").touch()
    assert executed(root.run(*words).check().err) == set()


COLLECT = """
import json, os
from pathlib import Path
from polyarch.namespaces.userns import enter_engine
enter_engine()
from polyarch.engine.collect import prune
from polyarch.store.policy import Policy
from polyarch.store.store import Store
with Store(Path(os.environ["POLYARCH_ROOT"]), works=False) as store:
    freed = prune(store, (Policy(all=True),))
print(json.dumps([each.record.description for each in freed.snapshots]))
"""


def collect(who: Person) -> list[str]:
    """Collect all that may go; return what went."""
    words = [*who.become(), interpreter(who.user), "-B", "-c", COLLECT]
    gone: list[str] = json.loads(who.run_other(*words).check().out)
    return gone


def test_a_collection_takes_nothing_in_use(who: Person, registry: RealRegistry) -> None:
    base = f"{registry.host}/library/busybox"
    name = f"{registry.host}/{who.user.name}/collected"
    who.write("data/file", "content")
    who.write("Dockerfile", f"FROM {base}\nRUN echo old > /old\n")
    who.run("build", PLATFORMS, ".").check()
    who.write("Dockerfile", STEPS.format(base=base))
    who.run(*words_of(name)).check()
    more = 'RUN echo "<third>"; sleep 1\nCOPY data /again\n'
    who.write("Dockerfile", STEPS.format(base=base) + more)
    gone: list[str] = []

    with boxed(who, *words_of(name)) as box:
        box.wait_for('"name":"[linux/')
        taken: list[str] = []
        while box.child.poll() is None:
            # What was taken last may have been taken after the build had ended.
            gone += taken
            taken = collect(who)
        status, said = box.end()

    assert status == 0, said
    removed = {each.rpartition(" /bin/sh -c ")[2].rpartition("] ")[2] for each in gone}
    assert "echo old > /old" in removed
    # What the build before had made may have gone before this one asked for it.
    assert removed.isdisjoint({'echo "<third>"; sleep 1', "COPY data /again"})
    assert whole_platforms(registry, name) == ["amd64", "arm64"]
    assert faults(who) == [[], []]
    who.run(*words_of(name)).check()
    assert len(collect(who)) > 3
    assert faults(who) == [[], []]
    who.run(*words_of(name)).check()
