"""Build contexts in which files change, grow, turn into other things and vanish while they are built."""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from contextlib import suppress
from pathlib import Path

from tests.support.machine.engines import ROOT
from tests.support.machine.programs import Person
from tools.torture.scene import Build, Scene, complaint
from tools.torture.tally import Tally

__all__ = ["contexts"]

_FILES = 200
_BUILD = Build(variant=99)


def contexts(scene: Scene, tally: Tally, events: int) -> None:
    """Change a context while it is built, then put everything back and build again, `events` times.

    What was read in the middle of a change must not be found in the cache by the build that comes after.
    """
    calm = _furnished(scene, "calm")
    scene.learn_from(calm, _BUILD)
    who = _furnished(scene, "restless")
    for number in range(events):
        if tally.is_enough:
            return
        with tally.trying("context"):
            tally.count(_build_restless(who, number))
            _write_files(who.work / str(_BUILD.variant))
            scene.build_again(who, _BUILD)
            scene.verify(who)
            if number % 3 == 2:
                who.run("prune", "--all", "--force").check()


def _furnished(scene: Scene, name: str) -> Person:
    who = scene.person(ROOT, name)
    who.write("Dockerfile", f"FROM {scene.base}\nCOPY --from=data . /copied\n")
    _write_files(who.work / str(_BUILD.variant))
    return who


def _write_files(directory: Path) -> None:
    """Make a context, always the same; what is in its place goes."""
    shutil.rmtree(directory, ignore_errors=True)
    content = random.Random(5)
    for number in range(_FILES):
        path = directory / f"{number % 10}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.randbytes(3000))


def _build_restless(who: Person, seed: int) -> str:
    """Build while somebody changes the context; return how it ended. Raises Lost for a bug."""
    done = threading.Event()
    changing = threading.Thread(
        target=_change, args=(who.work / str(_BUILD.variant), done, random.Random(seed))
    )
    changing.start()
    try:
        ended = who.run(*_BUILD.words("restless"))
    finally:
        done.set()
        changing.join()
    complaint(ended)
    return "refused" if ended.status else "built"


def _change(directory: Path, done: threading.Event, chance: random.Random) -> None:
    while not done.is_set():
        path = directory / f"{chance.randrange(10)}/{chance.randrange(_FILES)}"
        with suppress(OSError):
            chance.choice(_CHANGES)(path, chance)
        done.wait(chance.random() * 0.004)


def _open(path: Path, flags: int) -> int:
    """Open what is a file by now: what became a link leads to the machine's own, a pipe never opens."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor


def _write(path: Path, flags: int, data: bytes) -> None:
    descriptor = _open(path, flags)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _rewrite(path: Path, chance: random.Random) -> None:
    _write(path, os.O_TRUNC, chance.randbytes(3000))


def _rewrite_unnoticed(path: Path, chance: random.Random) -> None:
    status = path.lstat()
    _write(path, os.O_TRUNC, chance.randbytes(min(status.st_size, 1 << 20)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _grow(path: Path, chance: random.Random) -> None:
    _write(path, os.O_APPEND, chance.randbytes(chance.randrange(1, 200_000)))


def _shrink(path: Path, chance: random.Random) -> None:
    descriptor = _open(path, 0)
    try:
        os.ftruncate(descriptor, chance.randrange(100))
    finally:
        os.close(descriptor)


def _vanish(path: Path, _chance: random.Random) -> None:
    path.unlink()


def _become_directory(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _become_link(path: Path, _chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _become_pipe(path: Path, _chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _lose_directory(path: Path, _chance: random.Random) -> None:
    shutil.rmtree(path.parent)


def _replace(path: Path, chance: random.Random) -> None:
    aside = path.with_name("aside")
    aside.write_bytes(chance.randbytes(3000))
    aside.replace(path)


_CHANGES = (
    *(_rewrite, _rewrite_unnoticed, _grow, _shrink, _replace, _vanish),
    *(_become_directory, _become_link, _become_pipe, _lose_directory),
)
