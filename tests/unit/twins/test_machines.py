"""What emulated machines are called."""

from __future__ import annotations

import pytest

from polyarch.platforms import Platform, linux
from polyarch.twins.machines import find_machine
from tests.support.images.platforms import windows


@pytest.mark.parametrize(
    ("platform", "machine"),
    [
        (linux("arm64"), "aarch64"),
        (linux("arm", "v7"), "armv7l"),
        (linux("s390x"), None),
        (windows("arm64"), None),
    ],
)
def test_machine(platform: Platform, machine: str | None) -> None:
    assert find_machine(platform) == machine
