"""The cache of glibc's loader: its own program reads what we write."""

from __future__ import annotations

import subprocess
from pathlib import Path

from polyarch.twins.loadercache import loader_cache


def test_ldconfig_reads_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    libraries = {f"libx.so.{number}": f"/x/{number}" for number in (2, 10, 9)} | {"liba.so": "/a"}
    cache.write_bytes(loader_cache(libraries))

    shown = subprocess.run(
        ["/sbin/ldconfig", "-p", "-C", cache], check=True, capture_output=True, text=True
    ).stdout

    assert shown.splitlines()[0].startswith("4 libs found")
    assert [line.strip() for line in shown.splitlines()[1:5]] == [
        "libx.so.10 (libc6,x86-64) => /x/10",
        "libx.so.9 (libc6,x86-64) => /x/9",
        "libx.so.2 (libc6,x86-64) => /x/2",
        "liba.so (libc6,x86-64) => /a",
    ]


def test_an_empty_one(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(loader_cache({}))

    shown = subprocess.run(["/sbin/ldconfig", "-p", "-C", cache], check=True, capture_output=True)

    assert shown.stdout.startswith(b"0 libs found")
