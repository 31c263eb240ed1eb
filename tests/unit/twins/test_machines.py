"""What emulated machines are called."""

from __future__ import annotations

import pytest

from polyarch.platforms import Platform, linux
from polyarch.twins.machines import find_machine


@pytest.mark.parametrize(
    ("platform", "machine"),
    [
        (linux("arm64"), "aarch64"),
        (linux("arm", "v7"), "armv7l"),
        (linux("s390x"), None),
        (Platform(os="windows", architecture="arm64"), None),
    ],
)
def test_machine(platform: Platform, machine: str | None) -> None:
    assert find_machine(platform) == machine
