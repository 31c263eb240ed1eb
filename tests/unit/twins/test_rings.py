"""Which programs are vetted."""

from __future__ import annotations

import pytest

from polyarch.twins.rings import RINGS, ring_of


@pytest.mark.parametrize(
    ("path", "architecture", "ring"),
    [
        ("/usr/bin/tar", "arm64", "a"),
        ("/bin/busybox", "arm", "a"),
        ("/usr/bin/dpkg-deb", "arm64", "b"),
        ("/usr/bin/date", "arm64", "a"),
        ("/usr/bin/date", "arm", ""),
        ("/usr/local/bin/tar", "arm64", ""),
        ("/usr/bin/printf", "arm64", ""),
        ("/usr/bin/getconf", "arm64", ""),
        ("tar", "arm64", ""),
        ("/usr/bin/zstd", "arm64", "a"),
        ("/usr/bin/zstd", "arm", ""),
        ("/usr/bin/zstd", "riscv64", ""),
    ],
)
def test_ring(path: str, architecture: str, ring: str) -> None:
    bits = 32 if architecture == "arm" else 64

    assert ring_of(path, architecture=architecture, bits=bits) == ring


def test_a_program_is_in_one_ring() -> None:
    assert not RINGS["a"] & RINGS["b"]
