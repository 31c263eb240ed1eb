"""Clocks that jump between commands, by seconds or by centuries, to and fro."""

from __future__ import annotations

from pathlib import Path

from tests.support.machine.engines import ROOT
from tests.support.machine.programs import Person
from tools.torture.scene import Lost, Scene
from tools.torture.tally import Tally

__all__ = ["clocks"]

_DAY = 86400
_JUMPS = (0, 3, -3, 3600, -3600, 40 * _DAY, -40 * _DAY, 3650 * _DAY, -3650 * _DAY, 70_000 * _DAY)
_CLOCK = Path(__file__).parent / "clock"


def clocks(scene: Scene, tally: Tally, events: int) -> None:
    """Build, edit, prune by age and look, each with another clock, on one store, `events` times."""
    who = scene.person(ROOT, "clocks")
    for _event in range(events):
        if not tally.is_enough:
            with tally.trying("clock"):
                shift = scene.chance.choice(_JUMPS)
                _live(scene, _at(who, shift))
                tally.count(f"{shift} s")
    with tally.trying("the end"):
        _nothing_stays(scene, who)


def _at(who: Person, shift: int) -> Person:
    """Return the same person with a clock that is wrong by so many seconds."""
    path = f"{_CLOCK}:{who.environment()['PYTHONPATH']}"
    environ = {"PYTHONPATH": path, "TORTURE_CLOCK": str(shift)}
    return Person(user=who.user, home=who.home, environ={**who.environ, **environ})


def _live(scene: Scene, who: Person) -> None:
    build = scene.chance.choice(scene.builds)
    scene.build_again(who, build)
    # The same length, and at the same moment for the clock of one who has come back to it.
    path = who.work / f"{build.variant}/0"
    kept = path.read_text()
    who.write(f"{build.variant}/0", kept[::-1])
    who.run(*build.words("edited")).check()
    if (who.work / "iid").read_text() == scene.right[build]:
        raise Lost("an edit wasn't seen")
    who.write(f"{build.variant}/0", kept)
    scene.build_again(who, build)
    for words in (("du",), ("images",), ("prune", "--force", "--filter", "until=24h"), ("doctor",)):
        who.run(*words).check()
    scene.build_again(who, build)
    scene.verify(who)


def _nothing_stays(scene: Scene, who: Person) -> None:
    """With the right clock everything goes that isn't used, though its time may be still to come."""
    who.run("rmi", "again", "edited").check()
    who.run("prune", "--all", "--force").check()
    later = _at(who, 3 * _DAY)
    later.run("prune", "--all", "--force", "--filter", "until=24h").check()
    left = [path.name for path in who.root.glob("snapshots/*")]
    if left:
        raise Lost(f"snapshots from the future stay: {left}")
    scene.verify(who)
