"""Why files differ between two builds, by their paths and contents."""

from __future__ import annotations

import struct

import pytest

from polyarch.images.comparing import FileDifference
from polyarch.images.culprits import Moments, find_cause

NOW = 1_790_000_000
MOMENTS = Moments(start=NOW, end=NOW + 10.0)


def content(path: str, first: bytes, second: bytes) -> FileDifference:
    return FileDifference(path=path, what="content", first=first, second=second)


@pytest.mark.parametrize(
    ("path", "kind", "word"),
    [
        ("/var/cache/ldconfig/aux-cache", "cache", "ldconfig"),
        ("/usr/lib/python3/dist-packages/six.pyc", "byte-code", "PYTHONDONTWRITEBYTECODE"),
        ("/app/__pycache__/main.cpython-312.pyc", "byte-code", "unchecked-hash"),
        ("/var/log/dpkg.log", "log", "/var/log"),
        ("/var/log/apt/history.log.1", "log", "/var/log"),
        ("/build/config.log", "log", "same RUN"),
        ("/root/.npm/_logs/2026-01-01-debug-0.log", "log", "same RUN"),
        ("/var/cache/apt/pkgcache.bin", "package manager", "/var/lib/apt/lists"),
        ("/var/lib/dpkg/status-old", "package manager", "apt"),
        ("/lib/apk/db/scripts.tar", "package manager", "SOURCE_DATE_EPOCH"),
        ("/var/lib/rpm/rpmdb.sqlite", "package manager", "SOURCE_DATE_EPOCH"),
        ("/root/.cache/pip/selfcheck/x", "package manager", "type=cache"),
        ("/etc/machine-id", "random", "container"),
        ("/etc/ssh/ssh_host_ed25519_key.pub", "random", "container"),
        ("/etc/shadow", "time", "chage"),
        ("/var/cache/fontconfig/CACHEDIR", "cache", "same RUN"),
    ],
)
def test_paths_that_are_known(path: str, kind: str, word: str) -> None:
    cause = find_cause(content(path, b"a", b"b"), MOMENTS)

    assert cause.kind == kind
    assert word in f"{cause.text} {cause.remedy}"


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (b"Sat Nov 28 22:01:09 UTC 2026\n", b"Sat Nov 28 22:01:12 UTC 2026\n", "time"),
        (b"built=%d\n" % NOW, b"built=%d\n" % (NOW + 3), "time"),
        (b"t=%d.123456 x" % NOW, b"t=%d.654321 x" % (NOW + 3), "time"),
        (b"2026-11-28", b"2026-11-29", "time"),
        (b"X\0" + struct.pack("<I", NOW), b"X\0" + struct.pack("<I", NOW + 3), "time"),
        (b"X\0" + struct.pack(">I", NOW), b"X\0" + struct.pack(">I", NOW + 3), "time"),
        (b"\x1f\x8b\x08\0aaaa", b"\x1f\x8b\x08\0bbbb", "time"),
        (b"!<arch>\nx 1 ", b"!<arch>\nx 2 ", "time"),
        (b"a\nb\nc\n", b"c\na\nb\n", "order"),
        (b'{"a", "b"}', b'{"b", "a"}', "order"),
        (b"id=0f9a3c5e77b1\n", b"id=77b10f9a3c5e\n", "random"),
        (b"id: 8d0e2f7e-1111-4c1c-9c7b-2f0a\n", b"id: 1c5e9e0f-2222-4d4d-8b8b-9e1b\n", "random"),
        (bytes(range(7, 47)), bytes(range(90, 130)), "random"),
        (b"version one", b"version two", "unknown"),
    ],
)
def test_contents_that_tell(first: bytes, second: bytes, kind: str) -> None:
    assert find_cause(content("/data/file", first, second), MOMENTS).kind == kind


@pytest.mark.parametrize(
    ("what", "path", "kind"),
    [
        ("its time", "/etc/passwd", "time"),
        ("its mode", "/etc/passwd", "metadata"),
        ("only the first build has it", "/tmp/build-0f9a3c5e77b1", "random"),
        ("only the second build has it", "/core", "unknown"),
    ],
)
def test_what_else_differs(what: str, path: str, kind: str) -> None:
    assert find_cause(FileDifference(path=path, what=what), MOMENTS).kind == kind
