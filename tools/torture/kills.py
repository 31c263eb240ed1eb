"""SIGKILL, at any moment, for any process of a command: build, push, pull, prune, import of a layout."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.machine.boxes import Box, boxed
from tests.support.machine.engines import ROOT, fresh_user
from tests.support.machine.programs import Person
from tools.torture.scene import Build, Lost, Scene
from tools.torture.tally import Tally

__all__ = ["KINDS", "Killer", "kills"]

KINDS = ("build", "push", "pull", "prune", "import")
_VICTIMS = ("outer", "init", "engine", "any")
_LONGEST_PAUSE = 0.15


def kills(scene: Scene, tally: Tally, events: int) -> None:
    """Kill commands of root and of an ordinary user until `events` were killed."""
    with fresh_user(subordinate_ids=True) as user:
        killers = [Killer(scene, scene.person(each, f"killed{each.uid}")) for each in (ROOT, user)]
        killed = 0
        while killed < events and not tally.is_enough:
            kind = KINDS[tally.tried % len(KINDS)]
            killer = killers[tally.tried // len(KINDS) % 3 == 2]
            with tally.trying(kind):
                victim = killer.strike(kind)
                tally.count(f"{kind}, {victim} killed" if victim else f"{kind}, done before")
                killed += bool(victim)


@dataclass
class Killer:
    """Kills one person's commands; `lines` remembers how much each kind says before it ends."""

    scene: Scene
    who: Person
    lines: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def strike(self, kind: str) -> str:
        """Start a command of a kind, kill it, and verify; return who was killed, "" if it was done before.

        Raises Lost.
        """
        self.number += 1
        chance = self.scene.chance
        build = chance.choice(self.scene.builds)
        who, words, check = getattr(self, f"_{kind}")(build)
        with boxed(who, *words) as box:
            victim = self._kill(box, kind)
            self.scene.verify(who, box)
        check()
        self.scene.verify(who)
        return victim

    def _kill(self, box: Box, kind: str) -> str:
        """Kill after so many lines, and a moment; return who was killed, "" if nobody was there any more."""
        chance = self.scene.chance
        assert box.child.stderr is not None
        most = self.lines.get(kind, 20)
        wanted = chance.randrange(most + 1)
        for seen in range(wanted):
            if not box.child.stderr.readline():
                self.lines[kind] = max(seen, 1)
                break
        time.sleep(chance.random() ** 2 * _LONGEST_PAUSE)  # no event: any moment is meant
        victim = chance.choice(_VICTIMS)
        with contextlib.suppress(ProcessLookupError, IndexError):
            if box.child.poll() is not None:
                return ""
            places = {name: place for place, name in enumerate(_VICTIMS[:3])}
            living = box.engine_processes()
            place = places.get(victim)
            pid = chance.choice(box.processes()) if place is None else living[: place + 1][-1]
            os.kill(pid, signal.SIGKILL)
            box.child.communicate(timeout=60)
            return victim if box.child.returncode else ""
        box.child.communicate(timeout=60)
        return ""

    # --- kinds: who, the words, and what checks that the command succeeds next time ---

    def _build(self, build: Build) -> tuple[Person, tuple[str, ...], Callable[[], None]]:
        more = self.scene.chance.choice(((), ("--no-cache",)))
        return self.who, build.words("app", *more), lambda: self._next(self.who, build)

    def _next(self, who: Person, build: Build) -> None:
        self.scene.build_again(who, build)

    def _push(self, build: Build) -> tuple[Person, tuple[str, ...], Callable[[], None]]:
        name = f"{self.scene.registry.host}/{self.who.home.name}/r{self.number}"
        words = build.words(name, attributes=",push=true")

        def check() -> None:
            self.scene.check_pushed(name, needed=False)
            self.scene.check_digest(self.who, build, self.who.run(*words))
            self.scene.check_pushed(name, needed=True)

        return self.who, words, check

    def _pull(self, _build: Build) -> tuple[Person, tuple[str, ...], Callable[[], None]]:
        who = self._fresh()
        words = ("pull", "--progress=plain", "--all-platforms", self.scene.base)

        def check() -> None:
            who.run(*words).check()
            if not who.run("images", "-q").check().out.strip():
                raise Lost("nothing was pulled")

        return who, words, check

    def _prune(self, build: Build) -> tuple[Person, tuple[str, ...], Callable[[], None]]:
        return self.who, ("prune", "--all", "--force"), lambda: self._next(self.who, build)

    def _import(self, build: Build) -> tuple[Person, tuple[str, ...], Callable[[], None]]:
        who = self._fresh()
        context = f"--build-context={self.scene.base}=oci-layout://{self.scene.layout}"
        words = build.words("app", context)

        def check() -> None:
            self.scene.check_digest(who, build, who.run(*words))

        return who, words, check

    def _fresh(self) -> Person:
        """Return the same person with a store that isn't there yet, beside their own."""
        other = self.who.home / "fresh"
        shutil.rmtree(other, ignore_errors=True)
        return Fresh(user=self.who.user, home=self.who.home, environ=dict(self.who.environ))


class Fresh(Person):
    """A person who uses a second store."""

    @property
    def root(self) -> Path:
        return self.home / "fresh"
