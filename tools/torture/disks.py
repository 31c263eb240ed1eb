"""Disks that are full: of bytes or of files, from the start or at any moment."""

from __future__ import annotations

import os

from polyarch import syscalls
from tests.support.machine.engines import ROOT, User, fresh_user
from tests.support.machine.programs import Person
from tools.torture.scene import Lost, Scene, complaint
from tools.torture.tally import Tally

__all__ = ["disks"]

_PAGE = 4096
_ROOM = "size=400m,nr_inodes=100k"


def disks(scene: Scene, tally: Tally, events: int) -> None:
    """Run builds, pushes and pulls on disks of any size, until `events` of them were too small."""
    with fresh_user(subordinate_ids=True) as user:
        needs: dict[str, int] = {}
        full = 0
        while full < events and not tally.is_enough:
            who = ROOT if tally.tried % 3 else user
            with tally.trying("disk"):
                what = _fill(scene, who, tally.tried, needs)
                tally.count(what)
                full += "full" in what


def _fill(scene: Scene, user: User, number: int, needs: dict[str, int]) -> str:
    """Run one command on a disk of some size; return what came of it. Raises Lost."""
    chance = scene.chance
    who = scene.person(user, f"disk{number}")
    who.root.mkdir()
    build = chance.choice(scene.builds)
    name = f"{scene.registry.host}/disks/r{number}"
    kind = chance.choice(("build", "push", "pull"))
    words = {
        "build": build.words("app"),
        "push": build.words(name, attributes=",push=true"),
        "pull": ("pull", "--progress=plain", "--all-platforms", scene.base),
    }[kind]
    of = chance.choice(("size", "nr_inodes"))
    _mount(who, _ROOM)
    try:
        if f"{kind}{of}" not in needs:
            who.run(*words).check()
            needs[f"{kind}{of}"] = _used(who, of)
            _empty(who)
        _mount(who, _limit(of, chance.randrange(2, needs[f"{kind}{of}"] + 2)))
        what = _run_full(who, words)
        # A store on a disk without room for a file can't be looked at either.
        _mount(who, _ROOM, flags=syscalls.MS_REMOUNT)
        scene.verify(who, leftovers=True)
        scene.build_again(who, build)
        scene.verify(who)
        if kind == "push":
            scene.check_pushed(name, needed=False)
    finally:
        _empty(who)
    return f"{kind}, {what} ({of})"


def _run_full(who: Person, words: tuple[str, ...]) -> str:
    ended = who.run(*words)
    said = complaint(ended)
    if ended.status and "hint: the disk " not in said:
        raise Lost(f"a full disk isn't named: {said}")
    return "full" if ended.status else "enough"


def _limit(of: str, number: int) -> str:
    return f"size={number * _PAGE}" if of == "size" else f"size=400m,nr_inodes={number}"


def _used(who: Person, of: str) -> int:
    """Return how many pages, or files, the store has."""
    status = os.statvfs(who.root)
    return status.f_blocks - status.f_bfree if of == "size" else status.f_files - status.f_ffree


def _mount(who: Person, options: str, flags: int = 0) -> None:
    owner = f"uid={who.user.uid},gid={who.user.gid},mode=700"
    syscalls.mount("tmpfs", str(who.root), "tmpfs", flags, f"{options},{owner}")


def _empty(who: Person) -> None:
    while os.path.ismount(who.root):
        syscalls.umount2(str(who.root), syscalls.MNT_DETACH)
