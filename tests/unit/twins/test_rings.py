"""Which programs are vetted."""

from __future__ import annotations

import pytest

from polyarch.twins.rings import RINGS, names_machine, ring_of


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
        ("/usr/bin/fold", 64, "a"),
        ("/usr/bin/fold", 32, ""),
        ("/usr/bin/apt-get", 64, "b"),
        ("/usr/bin/apt-get", 32, ""),
        ("/usr/lib/apt/methods/http", 64, "b"),
        ("/usr/lib/apt/methods/http", 32, "b"),
        ("/usr/lib/apt/methods/tar", 64, ""),
        ("/usr/bin/http", 64, ""),
    ],
)
def test_ring(path: str, bits: int, ring: str) -> None:
    assert ring_of(path, bits=bits) == ring


def test_a_program_is_in_one_ring() -> None:
    assert not RINGS["a"] & RINGS["b"]


@pytest.mark.parametrize(
    ("library", "names"),
    [("libapt-pkg.so.6.0", True), ("libapt-pkg.so.5.0", True), ("libz.so.1", False)],
)
def test_libraries_that_name_the_machine(library: str, names: bool) -> None:
    assert names_machine(library) is names
