"""Static programs of a few instructions for seven architectures: they change their root, and say what they are for."""

from __future__ import annotations

import io

from polyarch.emulation.elf import build_elf, read_elf
from polyarch.emulation.probe import probe_program

__all__ = ["MADE", "maker"]

MADE = "made"
"""The directory that they make in their root, if it isn't there."""
# mkdirat(AT_FDCWD, path, 0755); write(1, text, 8); exit(0), made by `as`. Then come the path, with as many bytes
# as are said here, and the text.
_PROGRAMS: dict[str, tuple[int, str]] = {
    "amd64": (
        7,
        (
            "b802010000bf9cffffff488d3528000000baed0100000f05b801000000bf01000000488d3517000000ba0800"
            "00000f05b83c00000031ff0f05"
        ),
    ),
    "386": (
        7,
        (
            "e8000000005eb828010000bb9cffffff8d8e38000000baed010000cd80b804000000bb010000008d8e3f0000"
            "00ba08000000cd80b80100000031dbcd80"
        ),
    ),
    "arm64": (
        8,
        (
            "600c809281010010a23d80d2480480d2010000d4200080d221010010020180d2080880d2010000d4000080d2"
            "a80b80d2010000d4"
        ),
    ),
    "arm": (
        8,
        (
            "6300e0e330108fe224209fe524709fe5000000ef0100a0e324108fe20820a0e30470a0e3000000ef0000a0e3"
            "0170a0e3000000efed01000043010000"
        ),
    ),
    "ppc64le": (
        8,
        (
            "05000048a602e87f1f0100389cff603838009f38ed01a03802000044040000380100603840009f380800a038"
            "02000044010000380000603802000044"
        ),
    ),
    "s390x": (
        8,
        (
            "a7190121a729ff9cc03000000016a74901ed0a00a7190004a7290001c03000000010a74900080a00a7190001"
            "a72900000a000707"
        ),
    ),
    "riscv64": (
        6,
        (
            "930820021305c0f997050000938545031306d01e730000009308000413051000970500009385250213068000"
            "730000009308d0051305000073000000"
        ),
    ),
}


def maker(architecture: str) -> bytes:
    """Return the program for an architecture; what it says is that, filled up to seven columns, and a new line."""
    room, code = _PROGRAMS[architecture]
    known = read_elf(io.BytesIO(probe_program(architecture)), architecture)
    data = f"/{MADE}".encode().ljust(room, b"\0") + architecture.encode().ljust(7) + b"\n"
    return build_elf(
        bytes.fromhex(code) + data,
        bits=known.bits,
        little_endian=known.little_endian,
        machine=known.machine,
        flags=known.flags,
    )
