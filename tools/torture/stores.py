"""Stores that can't be written, and stores of older versions."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from polyarch import syscalls
from tests.support.machine.engines import ROOT
from tests.support.machine.programs import Person
from tools.beside import PROJECT
from tools.torture.scene import Lost, Scene, complaint
from tools.torture.tally import Tally

__all__ = ["stores"]

_COMMANDS = (("du",), ("prune", "--force"), ("images",), ("run", "--rm", "right", "true"))


def stores(scene: Scene, tally: Tally, events: int) -> None:
    """Try each command on a read-only store, then `events` stores that are older."""
    with tally.trying("read-only"):
        _read_only(scene, tally)
    versions = ["", *_older(events - 1)]
    for number, commit in enumerate(versions):
        if not tally.is_enough:
            with tally.trying(f"an older store {commit}"):
                _take_over(scene, tally, f"old{number}", commit)


def _read_only(scene: Scene, tally: Tally) -> None:
    who = scene.person(ROOT, "read-only")
    build = scene.builds[0]
    scene.build_again(who, build)
    place = str(who.root)
    syscalls.mount(place, place, "", syscalls.MS_BIND)
    flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY
    syscalls.mount("none", place, "", flags)
    try:
        for words in (build.words("x"), ("pull", scene.base), *_COMMANDS):
            ended = who.run(*words)
            if not ended.status or "ead-only" not in complaint(ended):
                raise Lost(f"{words[0]} on a read-only store: {ended.status} {ended.err}")
            tally.count("read-only, refused")
    finally:
        syscalls.umount2(place, syscalls.MNT_DETACH)
    scene.build_again(who, build)
    scene.verify(who)


def _take_over(scene: Scene, tally: Tally, name: str, commit: str) -> None:
    """Let an older version make a store, or make one look old, and go on with it."""
    who = scene.person(ROOT, name)
    build = scene.chance.choice(scene.builds)
    context = ("--build-arg=SOURCE_DATE_EPOCH=1", f"--build-context=data={build.variant}")
    if commit:
        source = scene.directory / f"source-{commit[:12]}"
        _check_out(commit, source)
        environ = {"PYTHONPATH": f"{source}/src:{who.environment()['PYTHONPATH']}"}
        older = Person(user=who.user, home=who.home, environ=environ)
        running = older.start("build", "-t", "old", *context, ".")
        running.communicate()
        if running.returncode:
            tally.count("older, and can't build this")
            return
    else:
        scene.build_again(who, build)
        _age(who.root)
    scene.build_again(who, build)
    who.run("du").check()
    who.run("prune", "--all", "--force").check()
    scene.verify(who)
    if who.root.stat().st_mode & 0o077:
        raise Lost("others can enter a store that was made by an older version")
    tally.count("older, taken over")


def _age(root: Path) -> None:
    """Give a store the modes, and take what isn't needed, that one of the first versions had."""
    for path in (root, *root.glob("*"), *root.glob("locks/*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for path in (*root.glob("snapshots/*/record"), root / "facts.json"):
        path.unlink(missing_ok=True)


def _older(number: int) -> list[str]:
    """Return commits of the project's past, evenly spread, newest first; none where there is no history."""
    with suppress(OSError, subprocess.CalledProcessError):
        words = ("git", "-C", str(PROJECT), "log", "--format=%H", "--first-parent", "--", "src")
        commits = subprocess.run(words, capture_output=True, check=True, text=True).stdout.split()
        # In the first half of its life there was no whole program.
        usable = commits[: len(commits) // 2]
        step = max(1, len(usable) // max(1, number))
        return usable[step - 1 :: step][:number] if number > 0 else []
    return []


def _check_out(commit: str, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    packed = subprocess.run(
        ("git", "-C", str(PROJECT), "archive", commit, "src"), capture_output=True, check=True
    )
    subprocess.run(("tar", "-x", "-C", str(directory)), input=packed.stdout, check=True)
