"""Starts of twins are counted, where they can be told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.progress import CancelToken
from polyarch.twins.places import EMULATOR, GIVEN_UP
from polyarch.worker.emulated.sets import ImageSet
from polyarch.worker.emulated.starts import StartsOf
from tests.support.fakes.twins import AMD64, Images, Sets, image, run_on

DEBIAN = image("debian")


@pytest.fixture
def made(tmp_path: Path) -> ImageSet:
    sets, token = Sets(Images(tmp_path, image("debian", AMD64))), CancelToken()
    pair = sets.pair(DEBIAN, token)
    assert pair is not None
    found = sets.get(pair, run_on(DEBIAN), token)
    assert found is not None
    for path in (program(found), emulator(found)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return found


def program(made: ImageSet) -> Path:
    return made.twins.directory / "root/bin/sh"


def emulator(made: ImageSet) -> Path:
    return made.twins.directory / EMULATOR


def test_what_is_handed_on_to_the_emulator_is_left_out(made: ImageSet) -> None:
    with StartsOf().counting([made], made.twins.directory.parent) as starts:
        for path in (program(made), program(made), emulator(made), program(made)):
            path.read_bytes()
        during = starts.count

    assert (during, starts.count) == (None, 2)


def test_a_program_that_gives_up_says_so(made: ImageSet) -> None:
    directory = made.twins.directory.parent

    with StartsOf().counting([made], directory) as without:
        program(made).read_bytes()
    with StartsOf().counting([made], directory) as starts:
        (made.twins.directory / GIVEN_UP).read_bytes()

    assert (without.gave_up, starts.gave_up) == (False, True)


def test_two_steps_at_once_can_not_be_told_apart(made: ImageSet) -> None:
    counter, directory = StartsOf(), made.twins.directory.parent
    with counter.counting([made], directory) as first:
        with counter.counting([made], directory) as second:
            program(made).read_bytes()
        program(made).read_bytes()
    with counter.counting([made], directory) as third:
        program(made).read_bytes()

    assert (first.count, second.count, third.count) == (None, None, 1)


def test_a_step_runs_where_nothing_can_be_counted(made: ImageSet) -> None:
    emulator(made).unlink()

    with StartsOf().counting([made], made.twins.directory.parent) as starts:
        program(made).read_bytes()

    assert (starts.count, starts.gave_up) == (None, False)


def test_nobody_is_believed_where_nothing_tells_of_it(made: ImageSet) -> None:
    (made.twins.directory / GIVEN_UP).unlink()

    with StartsOf().counting([made], made.twins.directory.parent) as starts:
        program(made).read_bytes()

    assert starts.gave_up
