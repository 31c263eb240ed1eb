"""Tries inputs that nobody would write: `python -m tools.fuzz [AREA …] --minutes N --seed S`.

Inputs are made from seeds (texts of ours and, where they are beside the project, the conformance cases'
Dockerfiles) by cutting, doubling and mixing, and out of the area's own words. One that makes something
new come out becomes a seed, too. A finding is anything raised that isn't one of our errors, an answer
that differs from a second implementation's, and an input that takes seconds. The smallest input that
shows it is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from tools.beside import BUILD
from tools.fuzz_areas import AREAS as TEXTS
from tools.fuzz_areas import Area
from tools.fuzz_bake import BAKE
from tools.fuzz_formats import FORMATS
from tools.fuzz_rego import REGO

__all__ = ["AREAS", "Finding", "fuzz", "main", "shrink"]

AREAS = {**TEXTS, **FORMATS, **BAKE, **REGO}
_MAX_SIZE = 65536
_MAX_SECONDS = 2.0
_STOP_AFTER = 20.0  # of the processor's time; what needs that much isn't waited for
_MAX_POOL = 4000
_SHRINK_SECONDS = 60.0
_MAX_SHOWN = 300


@dataclass(frozen=True)
class Finding:
    """What went wrong: `kind` is the same for inputs that show the same fault."""

    kind: str
    details: str
    data: bytes


class _TooSlow(BaseException):
    """Raised by the timer, so that no handler of the code that is tried catches it."""


def main(words: Sequence[str]) -> int:
    """Fuzz the areas that were asked for, each for its minutes; return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(AREAS))
    parser.add_argument("--minutes", type=float, default=1.0, help="for each area (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default 0)")
    asked = parser.parse_args(words)
    unknown = [name for name in asked.areas if name not in AREAS]
    if unknown:
        parser.error(f"there is no area {unknown[0]}: choose from {', '.join(AREAS)}")
    found = False
    for name in asked.areas or AREAS:
        finding, tried = fuzz(AREAS[name], seconds=asked.minutes * 60, seed=asked.seed)
        print(f"{name}: {tried} inputs tried, {'1 finding' if finding else 'nothing found'}")
        if finding is not None:
            found = True
            smallest = shrink(finding, AREAS[name].check)
            print(f"  {smallest.kind}\n{smallest.details}\n{_shown(name, smallest.data)}")
        sys.stdout.flush()
    return int(found)


def _shown(name: str, data: bytes) -> str:
    """Show an input; one that is long is kept in a file."""
    if len(data) <= _MAX_SHOWN:
        return f"  input: {data!r}"
    BUILD.mkdir(exist_ok=True)
    path = BUILD / f"fuzz-{name}"
    path.write_bytes(data)
    return f"  input: {data[:_MAX_SHOWN]!r}… all {len(data)} bytes are in {path}"


def fuzz(
    area: Area, *, seconds: float, seed: int, most: int = sys.maxsize
) -> tuple[Finding | None, int]:
    """Try inputs until the time is over or something is found; return that and how many were tried.

    No more than `most` are tried.
    """
    chance = random.Random(seed)
    pool = [*area.seeds()]
    outcomes: set[str] = set()
    end = time.monotonic() + seconds
    tried = 0
    while tried < most and time.monotonic() < end:
        data = pool[tried] if tried < len(pool) else _mutated(pool, area, chance)
        tried += 1
        outcome = attempt(data, area.check)
        if isinstance(outcome, Finding):
            return outcome, tried
        if outcome not in outcomes:
            outcomes.add(outcome)
            pool.append(data)
            if len(pool) > _MAX_POOL:
                pool.pop(chance.randrange(len(pool)))
    return None, tried


def attempt(data: bytes, check: Callable[[bytes], str]) -> str | Finding:
    """Try one input; return what came of it, in a word, or what was found."""
    before = signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, _STOP_AFTER)
    start = time.process_time()
    try:
        outcome = check(data)
    except _TooSlow:
        return Finding("too slow", f"  more than {_STOP_AFTER} s", data)
    except Exception as error:  # noqa: BLE001 any at all is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {place.filename.rpartition('/')[2]}, {place.name}"
        return Finding(kind, traceback.format_exc(limit=-8), data)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    taken = time.process_time() - start
    if taken > _MAX_SECONDS:
        return Finding("too slow", f"  {taken:.1f} s for {len(data)} bytes", data)
    return outcome


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise _TooSlow


def shrink(finding: Finding, check: Callable[[bytes], str]) -> Finding:
    """Leave out all that can be left out of an input without another thing going wrong."""
    end = time.monotonic() + _SHRINK_SECONDS
    size = max(1, len(finding.data) // 2)
    while True:
        smaller = _without_a_part(finding, size, check, end)
        if smaller is not None:
            finding = smaller
            size = min(size, max(1, len(finding.data) // 2))
        elif size == 1 or time.monotonic() > end:
            return finding
        else:
            size //= 2


def _without_a_part(
    finding: Finding, size: int, check: Callable[[bytes], str], end: float
) -> Finding | None:
    for start in range(0, len(finding.data), size):
        if time.monotonic() > end:
            return None
        outcome = attempt(finding.data[:start] + finding.data[start + size :], check)
        if isinstance(outcome, Finding) and outcome.kind == finding.kind:
            return outcome
    return None


def _mutated(pool: list[bytes], area: Area, chance: random.Random) -> bytes:
    """Make an input: out of the area's words, or of one or two seeds."""
    if chance.random() < 0.2:
        words = chance.choices(area.words, k=chance.randrange(1, 40))
        return b"".join(words)
    data = chance.choice(pool)
    for _time in range(chance.choice((1, 1, 2, 3, 5, 8))):
        data = chance.choice(_MUTATIONS)(data, pool, area, chance)
    return data[:_MAX_SIZE]


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + chance.choice((1, 2, 4, 16, 64)))


def _remove(data: bytes, _pool: list[bytes], _area: Area, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _insert(data: bytes, _pool: list[bytes], area: Area, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + chance.choice(area.words) + data[start:]


def _replace(data: bytes, _pool: list[bytes], area: Area, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + chance.choice(area.words) + data[end:]


def _set_byte(data: bytes, _pool: list[bytes], _area: Area, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + bytes([chance.randrange(256)]) + data[start + 1 :]


def _splice(data: bytes, pool: list[bytes], _area: Area, chance: random.Random) -> bytes:
    other = chance.choice(pool)
    start = chance.randrange(len(other) + 1)
    return data[: chance.randrange(len(data) + 1)] + other[start:]


def _repeat(data: bytes, _pool: list[bytes], area: Area, chance: random.Random) -> bytes:
    """Double a part often, seldom very often: that is where slow ways are found."""
    start, end = _span(data, chance)
    part = chance.choice((data[start:end], chance.choice(area.words))) or b" "
    most = _MAX_SIZE // len(part) if chance.random() < 0.01 else 8
    return data[:start] + part * chance.randrange(1, most + 1) + data[start:]


_MUTATIONS = (_remove, _insert, _insert, _replace, _replace, _set_byte, _splice, _repeat)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
