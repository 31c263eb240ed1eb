"""How the time and the traffic of a bake on a cluster grow with its workers: a simulation of what Dask does with our tasks.

    python -m tools.clustergrowth

A task waits for the targets that it's built on, goes to the first worker of its platform that has room, fetches its context
there unless that worker has it from before, builds, and pushes. Scheduler and client take a while for each task, one after
the other; that is the part which doesn't get quicker with more workers. What these cost is measured (docs/guides/cluster.md); the
rest of a model is what a bake may look like.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Bake", "Grown", "example", "grow", "main"]

_PLATFORMS = ("linux/amd64", "linux/arm64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """Targets: each for all platforms, with its seconds of work, its context, and the targets before it that it's built on."""

    seconds: Sequence[float]
    contexts: Sequence[int]
    bases: Sequence[Sequence[int]]
    context_bytes: Sequence[int]
    pushed_bytes: int = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """What came of it: seconds until the end, bytes that workers fetched as contexts and pushed, tasks of each worker."""

    seconds: float
    fetched: int
    pushed: int
    tasks: tuple[int, ...]


def example(targets: int, seed: int = 7) -> Bake:
    """Return a bake of services: 20 contexts of 20 MB, work of 5 to 60 seconds, every tenth a base for the nine behind it."""
    chance = random.Random(seed)
    return Bake(
        seconds=[chance.uniform(5, 60) for _ in range(targets)],
        contexts=[chance.randrange(20) for _ in range(targets)],
        bases=[() if number % 10 == 0 else (number - number % 10,) for number in range(targets)],
        context_bytes=[20_000_000] * 20,
    )


def grow(bake: Bake, workers: int, *, overhead: float = 0.02, bandwidth: float = 100e6) -> Grown:
    """Simulate a bake: half of the workers are of each platform, one build at a time on each.

    `overhead` is what the scheduler and the client take for a task, `bandwidth` that of each worker in bytes per second.
    One worker has both platforms.
    """
    free = {platform: [(0.0, each) for each in _of(platform, workers)] for platform in _PLATFORMS}
    if workers == 1:
        free = dict.fromkeys(_PLATFORMS, free[_PLATFORMS[0]])
    built_on: list[list[int]] = [[] for _ in bake.seconds]
    for target, bases in enumerate(bake.bases):
        for base in bases:
            built_on[base].append(target)
    missing = [len(bases) for bases in bake.bases]
    ready = [(0.0, target) for target, count in enumerate(missing) if not count]
    counts, has = [0] * workers, [set[int]() for _ in range(workers)]
    fetched = 0
    busy = last = 0.0
    while ready:
        at, target = heapq.heappop(ready)
        ends = []
        for platform in _PLATFORMS:
            busy = max(busy, at) + overhead
            idle_since, worker = heapq.heappop(free[platform])
            end = max(idle_since, busy) + bake.seconds[target] + bake.pushed_bytes / bandwidth
            if bake.contexts[target] not in has[worker]:
                has[worker].add(bake.contexts[target])
                fetched += bake.context_bytes[bake.contexts[target]]
                end += bake.context_bytes[bake.contexts[target]] / bandwidth
            counts[worker] += 1
            heapq.heappush(free[platform], (end, worker))
            ends.append(end)
        last = max(last, *ends)
        for other in built_on[target]:
            missing[other] -= 1
            if not missing[other]:
                heapq.heappush(ready, (max(ends), other))
    pushed = sum(counts) * bake.pushed_bytes
    return Grown(
        seconds=last,
        fetched=fetched,
        pushed=pushed,
        tasks=tuple(counts),
    )


def _of(platform: str, workers: int) -> range:
    return range(_PLATFORMS.index(platform) if workers > 1 else 0, workers, min(workers, 2))


def main() -> int:
    """Print a table of 1 to 64 workers, for 1,000 targets."""
    bake = example(1000)
    print("| workers | time | times quicker | contexts fetched | images pushed |")
    print("|---:|---:|---:|---:|---:|")
    alone = grow(bake, 1).seconds
    for workers in (1, 2, 4, 8, 16, 32, 64):
        found = grow(bake, workers)
        print(
            f"| {workers} | {found.seconds / 3600:.2f} h | {alone / found.seconds:.1f} |"
            f" {found.fetched / 1e9:.2f} GB | {found.pushed / 1e9:.1f} GB |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
