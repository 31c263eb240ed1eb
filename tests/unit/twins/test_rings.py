"""Which programs are vetted."""

from __future__ import annotations

import pytest

from polyarch.twins.rings import RINGS, ring_of


@pytest.mark.parametrize(
    ("path", "bits", "ring"),
    [
        ("/usr/bin/tar", 64, "a"),
        ("/bin/busybox", 32, "a"),
        ("/usr/bin/dpkg-deb", 64, "b"),
        ("/usr/bin/date", 64, "a"),
        ("/usr/bin/date", 32, ""),
        ("/usr/local/bin/tar", 64, ""),
        ("/usr/bin/printf", 64, ""),
        ("/usr/bin/getconf", 64, ""),
        ("tar", 64, ""),
    ],
)
def test_ring(path: str, bits: int, ring: str) -> None:
    assert ring_of(path, bits=bits) == ring


def test_a_program_is_in_one_ring() -> None:
    assert not RINGS["a"] & RINGS["b"]
