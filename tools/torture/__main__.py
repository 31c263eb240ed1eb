"""Torments stores until something is lost: `python -m tools.torture [AREA …] --short --seed S`.

Each area has events: something happens to a command or its store, and after it the store is sound, nothing
is left of the command, no name is ahead of its content, and the next build succeeds with the one right
digest. What is lost is printed with the event's number and the seed, and the exit status is 1. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from polyarch import syscalls
from tests.support.images.baseimages import push_base
from tests.support.network.servers import real_registry
from tools.torture.areas import AREAS
from tools.torture.scene import ALL, FEW, Build, Scene
from tools.torture.tally import Tally

__all__ = ["main"]


def main(words: Sequence[str]) -> int:
    """Torment in the areas that were asked for; return 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tools.torture", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(AREAS))
    parser.add_argument("--short", action="store_true", help="a few events of each area")
    parser.add_argument("--events", type=int, default=0, help="so many of each area")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most, for each area (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file, too")
    asked = parser.parse_args(words)
    unknown = [name for name in asked.areas if name not in AREAS]
    if unknown:
        parser.error(f"there is no area {unknown[0]}: choose from {', '.join(AREAS)}")
    tallies = {}
    with _opened_scene(asked.seed, FEW if asked.short else ALL) as scene:
        for name in asked.areas or AREAS:
            area = AREAS[name]
            events = asked.events or (area.short if asked.short else area.long)
            tallies[name] = Tally(end=time.monotonic() + asked.minutes * 60)
            with tallies[name].trying(f"all of {name}"):
                area.torment(scene, tallies[name], events)
            _show(name, tallies[name])
    if asked.json:
        figures = {name: tally.figures() for name, tally in tallies.items()}
        Path(asked.json).write_text(json.dumps({"seed": asked.seed, **figures}, indent=1))
    return int(any(tally.lost for tally in tallies.values()))


def _show(name: str, tally: Tally) -> None:
    print(f"{name}: {', '.join(f'{value} {key}' for key, value in tally.figures().items())}")
    for text in tally.lost:
        print(f"  LOST {text}")
    sys.stdout.flush()


@contextlib.contextmanager
def _opened_scene(seed: int, builds: tuple[Build, ...]) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        with real_registry(directory / "registry") as registry:
            push_base(registry.host, "library/busybox", ("amd64", "arm64"), directory / "roots")
            chance = random.Random(seed)
            scene = Scene(directory=directory, registry=registry, chance=chance, builds=builds)
            scene.learn()
            yield scene


if __name__ == "__main__":
    # What is mounted on stores is nobody else's business.
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    sys.exit(main(sys.argv[1:]))
