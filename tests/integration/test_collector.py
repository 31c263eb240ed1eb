"""The collector beside builds: a store stays below its ceiling while several builds write, and none of them fails."""

from __future__ import annotations

import re

import pytest

from tests.support.machine.ceilings import fill
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

MB = 1_000_000


def test_a_ceiling_holds_while_builds_write(root: Person, registry: RealRegistry) -> None:
    """What each build holds while it runs is a layer, its archive, and the base image."""
    ceiling, size, at_once = 16 * MB, 4 * MB, 2
    base = f"{registry.host}/library/busybox"

    filling = fill(root, base, f"{registry.host}/ceiling", (ceiling, size), (5, at_once))

    assert filling.errors == ()
    assert filling.left <= ceiling
    assert filling.most <= ceiling + at_once * (2 * size + 4 * MB)
    shown = root.run("inspect", "small").check().out
    assert re.findall(r" Max Used Space: +(\S+)", shown) == ["488.3MiB", *["15.26MiB"] * 3]
