"""Which programs are vetted."""

from __future__ import annotations

import pytest

from polyarch.twins.rings import RINGS, names_machine, ring_of


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
        ("/usr/bin/fold", "arm64", "a"),
        ("/usr/bin/fold", "arm", ""),
        ("/usr/bin/apt-get", "arm64", "b"),
        ("/usr/bin/apt-get", "arm", ""),
        ("/usr/lib/apt/methods/http", "arm64", "b"),
        ("/usr/lib/apt/methods/http", "arm", "b"),
        ("/usr/lib/apt/methods/tar", "arm64", ""),
        ("/usr/bin/http", "arm64", ""),
        ("/usr/bin/perl", "arm", "b"),
        ("/usr/bin/python3.11", "arm64", "b"),
        ("/usr/bin/python3.11", "arm", ""),
        ("/usr/bin/python3.11-config", "arm64", ""),
    ],
)
def test_ring(path: str, architecture: str, ring: str) -> None:
    bits = 32 if architecture == "arm" else 64

    assert ring_of(path, architecture=architecture, bits=bits) == ring


def test_a_program_is_in_one_ring() -> None:
    assert not RINGS["a"] & RINGS["b"]


@pytest.mark.parametrize(
    ("library", "names"),
    [("libapt-pkg.so.6.0", True), ("libapt-pkg.so.5.0", True), ("libz.so.1", False)],
)
def test_libraries_that_name_the_machine(library: str, names: bool) -> None:
    assert names_machine(library) is names
