"""Capabilities by name and by bit."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from polyarch.runtime.capability import DEFAULT_CAPABILITIES, capability_names


@given(bits=st.integers(0, (1 << 41) - 1))
def test_capabilities_are_named_by_their_bits(bits: int) -> None:
    everything = capability_names((1 << 41) - 1)
    names = capability_names(bits)

    assert len(everything) == 41
    assert sum(1 << everything.index(name) for name in names) == bits


def test_the_names_are_the_kernels() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())

    assert capability_names(1 << 21 | 1 << min(last, 40)) == [
        "CAP_SYS_ADMIN",
        "CAP_CHECKPOINT_RESTORE",
    ]
    assert capability_names(DEFAULT_CAPABILITIES & 1) == ["CAP_CHOWN"]
