"""The first hour of somebody who comes from docker buildx: what they have, type and expect."""

from __future__ import annotations

import pytest

from buildxfiles import folder_of_buildx
from programs import Person

pytestmark = [pytest.mark.runtime, pytest.mark.root]

FILES_ONLY = "FROM scratch\nCOPY Dockerfile /\n"


@pytest.mark.parametrize("driver", ["docker-container", "remote", "kubernetes"])
def test_a_current_builder_of_another_driver(root: Person, driver: str) -> None:
    folder_of_buildx(root.home, driver)
    root.write("Dockerfile", FILES_ONLY)
    line = f'WARNING: the current builder "theirs" has the driver {driver}, which polyarch'

    for words in (("build", "-o", "out", "."), ("du",), ("prune", "-f")):
        ended = root.run(*words).check()
        assert ended.err.startswith(line)
        assert ended.err.count("WARNING") == 1
    assert (root.work / "out/Dockerfile").read_text() == FILES_ONLY


def test_a_builder_of_another_driver_by_name(root: Person) -> None:
    folder_of_buildx(root.home)
    root.write("Dockerfile", FILES_ONLY)

    for words in (("build", "."), ("du",), ("prune", "-f"), ("inspect", "--bootstrap")):
        refused = root.run(*words, "--builder=theirs")
        assert refused.status == 1
        assert (
            'builder "theirs" has the driver kubernetes, which polyarch can\'t use' in refused.err
        )
