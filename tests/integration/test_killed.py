"""Builds that are killed at any moment: nothing is left of them, and the next one succeeds."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from boxes import Box, boxed, held_locks, mounts_below
from engines import User, interpreter
from programs import Person, person
from servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

MOMENTS = 20
DOCKERFILE = """\
FROM {base} AS builder
WORKDIR /app
RUN i=0; while [ $i -lt 40 ]; do i=$((i+1)); mkdir -p d$i; echo $i > d$i/f; done; uname -m > who
COPY data /app/data
RUN --mount=type=cache,target=/cache sha256sum data/* > sums && cp sums /cache/ && chmod 700 d1

FROM {base}
COPY --from=builder /app /app
RUN rm -r /app/d2 && (echo said; tail -n 1 /app/sums) > /app/end
CMD ["cat", "/app/end"]
"""
PLATFORMS = "--platform=linux/amd64,linux/arm64"
SOUND = """
import json, os
from pathlib import Path
from polyarch.runtime.userns import enter_engine
enter_engine()
from polyarch.store.checkup import check
from polyarch.store.store import Store
with Store(Path(os.environ["POLYARCH_ROOT"])) as store:
    own = store.scratch.name
    problems = [problem.text for problem in check(store, deep=True)]
    debris = [name for name in os.listdir(store.root / "tmp") if name != own]
print(json.dumps([problems, debris]))
"""


def prepare(who: Person, registry: RealRegistry) -> tuple[str, ...]:
    """Write a context; return the words of its build."""
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    for number in range(8):
        who.write(f"data/{number}", f"{number} " * 50_000)
    name = f"{registry.host}/{who.home.parent.name.lower()}/{who.home.name}"
    return ("build", "--progress=plain", "-t", name, PLATFORMS, "--push", ".")


def result(who: Person, words: tuple[str, ...]) -> dict[str, str]:
    """Build, and export what was built; return what is where in it."""
    who.run(*words).check()
    folder = who.home / "out"
    who.run("build", PLATFORMS, "-o", f"type=local,dest={folder}", ".").check()
    return {str(path.relative_to(folder)): look_at(path) for path in sorted(folder.rglob("*"))}


def look_at(path: Path) -> str:
    status = path.lstat()
    content = ""
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    return f"{status.st_mode:o} {content}"


def check_nothing_is_left(who: Person, box: Box) -> None:
    box.wait_until_empty()
    assert mounts_below(who.home) == []
    assert held_locks(who.root) == []
    if who.root.exists():
        words = [*who.become(), interpreter(who.user), "-B", "-c", SOUND]
        assert json.loads(who.run_other(*words).check().out) == [[], []]


@pytest.fixture
def at_a_shell(user: User, tmp_path: Path) -> Callable[[str], Person]:
    return lambda name: person(user, tmp_path / name)


@pytest.mark.slow
def test_killed_at_any_moment(
    at_a_shell: Callable[[str], Person], registry: RealRegistry, user: User
) -> None:
    first = at_a_shell("first")
    words = prepare(first, registry)
    started = time.monotonic()
    first.run(*words).check()
    duration = time.monotonic() - started
    wanted = result(first, words)
    chance = random.Random(f"{user.name[-4:]} 1")

    for number in range(MOMENTS):
        who = at_a_shell(f"at{number}")
        words = prepare(who, registry)
        moment = (number + chance.random()) / MOMENTS * duration
        with boxed(who, *words) as box:
            # No event: any moment is meant.
            time.sleep(moment)
            victim = box.engine_processes()[-1 - number % 3 :][0]
            os.kill(victim, signal.SIGKILL)
            check_nothing_is_left(who, box)
        assert result(who, words) == wanted, f"killed {number} after {moment} s"
