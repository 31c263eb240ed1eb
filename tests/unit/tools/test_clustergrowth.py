"""What more workers bring, by the simulation, and what they don't."""

from __future__ import annotations

import pytest

from tools.clustergrowth import Bake, example, grow

BAKE = example(1000)


@pytest.mark.parametrize("workers", [1, 2, 4, 8, 16, 32, 64])
def test_time_shrinks_with_workers_and_contexts_come_once_to_each(workers: int) -> None:
    found = grow(BAKE, workers)

    work = 2 * sum(BAKE.seconds)
    assert work / workers <= found.seconds <= 1.1 * work / workers + 150
    assert found.fetched <= workers * sum(BAKE.context_bytes)
    assert found.pushed == 2 * 1000 * BAKE.pushed_bytes
    assert sum(found.tasks) == 2000
    assert min(found.tasks) > 0.5 * 2000 / workers


def test_traffic_does_not_grow_with_targets_that_share_a_context() -> None:
    few, many = (grow(example(count), 8).fetched for count in (200, 1000))

    assert few <= many <= 8 * sum(BAKE.context_bytes)
    assert many <= 1.25 * few


def test_no_number_of_workers_is_quicker_than_the_longest_chain_or_the_scheduler() -> None:
    chain = Bake(
        seconds=[10.0] * 50,
        contexts=[0] * 50,
        bases=[(), *((number,) for number in range(49))],
        context_bytes=[0],
        pushed_bytes=0,
    )
    instant = Bake(seconds=[0.0] * 1000, contexts=[0] * 1000, bases=[()] * 1000, context_bytes=[0])

    assert grow(chain, 64).seconds >= 500
    assert grow(instant, 64).seconds >= 2000 * 0.02
