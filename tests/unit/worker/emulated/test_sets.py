"""Sets are made once for all builds of a store, and go as other records do."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import Cancelled, RegistryError
from polyarch.progress import CancelToken
from polyarch.store.gc import collect
from polyarch.store.policy import Policy
from polyarch.store.usage import usage
from polyarch.worker.emulated.sets import ImageSet, Pair
from tests.support.fakes.twins import AMD64, ARM64, Images, Sets, image, run_on

DEBIAN, NATIVE = image("debian"), image("debian", AMD64)
VERTEX = run_on(DEBIAN)
TOKEN = CancelToken()


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path, NATIVE)


def pair_of(sets: Sets) -> Pair:
    found = sets.pair(DEBIAN, TOKEN)
    assert found is not None
    return found


def test_a_set_is_made_once_of_both_variants(images: Images) -> None:
    first, second = Sets(images), Sets(images)
    made = first.get(pair_of(first), VERTEX, TOKEN)
    found = second.get(pair_of(second), VERTEX, TOKEN)

    assert isinstance(made, ImageSet)
    assert made == found
    assert made.twins.directory.name == str(made.twins.number)
    assert (made.twins.directory / "platform").read_text() == str(ARM64)
    assert sorted(images.fetched) == ["debian", "debian"]
    assert (first.made, second.made) == (1, 0)


@pytest.mark.parametrize(("rings", "is_there"), [("ab", True), ("bc", False), ("", False)])
def test_a_build_has_the_rings_that_it_wants(images: Images, rings: str, is_there: bool) -> None:
    wanted = Sets(images, rings=rings)

    assert (wanted.get(pair_of(wanted), VERTEX, TOKEN) is not None) is is_there
    everything = Sets(images)
    assert everything.get(pair_of(everything), VERTEX, TOKEN) is not None
    assert (wanted.made, everything.made) == (1, 0)


def test_that_there_are_no_twins_is_remembered(images: Images) -> None:
    first, second = Sets(images, "there are none"), Sets(images)

    assert first.get(pair_of(first), VERTEX, TOKEN) is None
    assert second.is_made(pair_of(second))
    assert second.get(pair_of(second), VERTEX, TOKEN) is None
    assert (first.made, second.made) == (1, 0)


def test_who_has_no_native_variant_is_asked_once(tmp_path: Path) -> None:
    images = Images(tmp_path)
    sets = Sets(images)

    assert [sets.pair(DEBIAN, TOKEN), sets.pair(DEBIAN, TOKEN)] == [None, None]
    assert images.asked == ["debian"]


def test_a_registry_that_fails_is_asked_once(images: Images) -> None:
    sets = Sets(images)
    images.failure = RegistryError("too many requests")

    with pytest.raises(RegistryError):
        sets.pair(DEBIAN, TOKEN)

    assert sets.pair(DEBIAN, TOKEN) is None
    assert images.asked == ["debian"]


def test_an_image_that_moves_on_gets_another_set() -> None:
    pair = Pair(foreign=DEBIAN, native=NATIVE)
    later = Pair(foreign=image("debian:2"), native=NATIVE)

    assert pair.snapshot != later.snapshot
    assert 1 <= pair.number <= 9999


def test_who_is_stopped_leaves_nothing(images: Images) -> None:
    sets, token = Sets(images), CancelToken()
    token.cancel()

    with pytest.raises(Cancelled):
        sets.get(pair_of(sets), VERTEX, token)

    assert not sets.is_made(pair_of(sets))
    assert sets.made == 0
    assert list(images.store.scratch.iterdir()) == []


def test_what_is_made_beside_the_steps_is_found_by_later_ones(images: Images) -> None:
    with Sets(images) as sets:
        pair = pair_of(sets)
        before = sets.find(pair)
        sets.begin(pair, VERTEX)
        sets.begin(pair, VERTEX)
        sets.wait()
        found = sets.find(pair)

    assert before is None
    assert found is not None
    assert sets.made == 1


def test_sets_are_counted_and_collected_as_layers_are(images: Images) -> None:
    sets = Sets(images)
    made = sets.get(pair_of(sets), VERTEX, TOKEN)
    assert made is not None
    (entry,) = (each for each in usage(images.store) if each.record.id == made.snapshot)
    collect(images.store, [Policy()])

    assert entry.record.description == "native programs for linux/arm64 steps on debian"
    assert entry.size > 0
    assert not images.snapshotter.exists(made.snapshot)
    assert [each.record.id for each in usage(images.store)] == []
