"""Builds that are killed at any moment: nothing is left of them, and the next one succeeds."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.images.soundness import faults, whole_platforms
from tests.support.machine.boxes import Box, boxed, held_locks, mounts_below
from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

MOMENTS = 3
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


def prepare(who: Person, registry: RealRegistry) -> tuple[str, ...]:
    """Write a context; return the words of its build."""
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    for number in range(8):
        who.write(f"data/{number}", f"{number} " * 50_000)
    name = f"{registry.host}/{who.home.parent.name.lower()}/{who.home.name}"
    return ("build", "--progress=plain", "-t", name, PLATFORMS, "--push", ".")


def result(who: Person, words: tuple[str, ...]) -> dict[str, str]:
    """Build, and export what was built as well; return what is where in it."""
    directory = who.home / "out"
    who.run(*words[:-1], "-o", f"type=local,dest={directory}", ".").check()
    return {
        str(path.relative_to(directory)): look_at(path) for path in sorted(directory.rglob("*"))
    }


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
    assert faults(who) == [[], []]


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
        moment = (number + chance.random()) / MOMENTS * duration
        attempt = 0
        while True:
            who = at_a_shell(f"at{number}-{attempt}")
            words = prepare(who, registry)
            with boxed(who, *words) as box:
                status = kill_after(box, moment, number % 3)
                check_nothing_is_left(who, box)
            assert result(who, words) == wanted, f"killed {number} after {moment} s"
            if status != 0:
                break
            # It was done before: this machine has become faster.
            moment, attempt = moment * 0.8, attempt + 1
        # 1: at first the outer process' only child is the helper that maps ids, and it is told of its end.
        assert status in {-signal.SIGKILL, 128 + signal.SIGKILL, 1}


def kill_after(box: Box, seconds: float, generation: int) -> int:
    """Kill the outer process (0), its init (1) or its engine (2) then; return the exit status."""
    time.sleep(seconds)  # no event: any moment is meant
    box.kill(generation)
    return box.end()[0]


POINTS = (
    "load metadata",
    "extracting sha256",
    "builder 3/5] RUN",
    "builder 4/5] COPY",
    "exporting layers",
    "exporting to image",
    "pushing layers",
    "naming to",
)


@pytest.mark.parametrize(
    ("said", "victim"),
    # The engine does the work; of the others, either one at each point.
    [
        *((point, "engine") for point in POINTS),
        *zip(POINTS, ("outer", "init") * 4, strict=True),
    ],
)
def test_killed_at_a_certain_point(
    root: Person, registry: RealRegistry, said: str, victim: str
) -> None:
    words = prepare(root, registry)

    with boxed(root, *words) as box:
        box.wait_for(said)
        pids = dict(zip(["outer", "init", "engine"], box.engine_processes(), strict=False))
        os.kill(pids.get(victim, box.child.pid), signal.SIGKILL)
        check_nothing_is_left(root, box)

    built = result(root, words)
    assert {name for name in built if name.endswith("/app/end")} == {
        "linux_amd64/app/end",
        "linux_arm64/app/end",
    }
    assert whole_platforms(registry, words[3]) == ["amd64", "arm64"]


SLOW = """FROM {base}
RUN echo 1 > /one
RUN (trap '' TERM INT; sleep 1000) & echo rea""dy; sleep 1000
"""
CANCELED = "ERROR: failed to build: failed to solve: Canceled: context canceled"


@pytest.mark.parametrize(
    ("user", "number", "to_all"),
    [
        *itertools.product(["root"], [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], [False, True]),
        # Whose processes they are counts, and not which signal it is.
        *itertools.product(["many ids", "one id"], [signal.SIGINT], [False, True]),
    ],
    indirect=["user"],
)
def test_a_signal_cancels(
    who: Person, registry: RealRegistry, number: signal.Signals, to_all: bool
) -> None:
    words = prepare(who, registry)
    who.write("Dockerfile", SLOW.format(base=f"{registry.host}/library/busybox"))

    with boxed(who, *words) as box:
        box.wait_for("ready")
        (os.killpg if to_all else os.kill)(box.child.pid, number)
        status, err = box.end()
        check_nothing_is_left(who, box)

    assert (status, err.splitlines()[-1]) == (130, CANCELED)


def test_a_second_interrupt_ends_at_once(root: Person, registry: RealRegistry) -> None:
    words = prepare(root, registry)
    root.write("Dockerfile", SLOW.format(base=f"{registry.host}/library/busybox"))

    with boxed(root, *words) as box:
        box.wait_for("ready")
        outer, _, engine = box.engine_processes()
        os.kill(engine, signal.SIGSTOP)  # it can't see to the first one
        os.kill(outer, signal.SIGINT)
        time.sleep(0.6)  # people don't press twice within half a second
        os.kill(outer, signal.SIGINT)
        assert box.end()[0] == 128 + signal.SIGKILL
        check_nothing_is_left(root, box)


def test_a_tag_is_never_ahead_of_its_content(root: Person, registry: RealRegistry) -> None:
    words = prepare(root, registry)
    chance = random.Random(3)
    root.run(*words).check()
    killed, moment = 0, 0.4

    while killed < 4:
        (root.work / "data/0").write_bytes(chance.randbytes(6_000_000))
        with boxed(root, *words) as box:
            box.wait_for("pushing layers")
            time.sleep(chance.random() * moment)  # no event: any moment of the push is meant
            box.kill()
            was_killed = box.end()[0] == 128 + signal.SIGKILL
        assert whole_platforms(registry, words[3]) == ["amd64", "arm64"]
        killed += was_killed
        moment *= 1.0 if was_killed else 0.8  # it was done before
