"""Eight builders and two collectors on one store at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.support.machine.engines import ROOT
from tests.support.machine.programs import Person
from tools.torture.scene import Build, Scene, complaint
from tools.torture.tally import Tally

__all__ = ["crowd"]

_BUILDERS = 8
_COLLECTORS = 2
_MORE: tuple[tuple[str, ...], ...] = ((), (), ("--no-cache",))


def crowd(scene: Scene, tally: Tally, events: int) -> None:
    """Let a crowd of root's work on one store, `events` times."""
    who = scene.person(ROOT, "crowd")
    for _event in range(events):
        if not tally.is_enough:
            with tally.trying("crowd"):
                _gather(scene, who, tally)
                scene.verify(who)


def _gather(scene: Scene, who: Person, tally: Tally) -> None:
    """Let everybody work, and wait for all. Raises what the first to fail raises."""
    done = threading.Event()
    plans = [
        (scene.chance.choice(scene.builds), scene.chance.choice(_MORE)) for _ in range(_BUILDERS)
    ]
    with ThreadPoolExecutor(_BUILDERS + _COLLECTORS) as pool:
        building = [
            pool.submit(_build, scene, who, number, *plan) for number, plan in enumerate(plans)
        ]
        collecting = [pool.submit(_collect, who, number, done) for number in range(_COLLECTORS)]
        try:
            for built in building:
                built.result()
        finally:
            done.set()
        tally.events["builds"] += len(plans)
        tally.events["collections"] += sum(each.result() for each in collecting)


def _build(scene: Scene, who: Person, number: int, build: Build, more: tuple[str, ...]) -> None:
    iidfile = f"iid{number}"
    words = build.words("app", *more)
    own = [f"--iidfile={iidfile}" if word.startswith("--iidfile") else word for word in words]
    scene.check_digest(who, build, who.run(*own, seconds=600), iidfile)


def _collect(who: Person, number: int, done: threading.Event) -> int:
    collections = 0
    while not done.is_set():
        more = ("--all",) if number else ()
        ended = who.run("prune", "--force", *more, seconds=600)
        complaint(ended)
        ended.check()
        collections += 1
    return collections
