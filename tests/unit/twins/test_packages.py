"""Files of roots and the packages that they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.twins.packages import Package, read_packages

STATUS = """\
Package: bash
Status: install ok installed
Version: 5.2.15-2+b13
Description: shell
 Version: not this

Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.36-9+deb12u13

Package: gone
Status: deinstall ok config-files
Version: 1
"""
INSTALLED = """\
P:busybox
V:1.36.1-r5
F:bin
R:busybox
F:etc/network
R:nothing

P:musl
V:1.2.4-r2
F:lib
R:ld-musl-aarch64.so.1
"""


def write(root: Path, path: str, text: str) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def test_debians_packages(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/dpkg/status", STATUS)
    write(tmp_path, "var/lib/dpkg/info/bash.list", "/.\n/bin\n/bin/bash\n")
    write(tmp_path, "var/lib/dpkg/info/libc6:arm64.list", "/lib/aarch64-linux-gnu/libc.so.6\n")
    write(tmp_path, "var/lib/dpkg/info/gone.list", "/usr/bin/gone\n")
    write(tmp_path, "var/lib/dpkg/info/bash.md5sums", "x  bin/none\n")

    packages = read_packages(tmp_path)

    assert packages.kind == "dpkg"
    bash = Package(name="bash", version="5.2.15-2")
    assert packages.find("/bin/bash") == packages.find("/usr/bin/bash") == bash
    libc = packages.find("/usr/lib/aarch64-linux-gnu/libc.so.6")
    assert libc == Package(name="libc6", version="2.36-9+deb12u13")
    assert packages.find("/usr/bin/gone") is None
    assert packages.find("/bin/none") is None
    assert packages.architectures["libc6"] == "arm64"


def test_an_empty_database_is_none(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/dpkg/status", "")

    assert read_packages(tmp_path).kind == ""


@pytest.mark.parametrize("database", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_alpines_packages(tmp_path: Path, database: str) -> None:
    write(tmp_path, database, INSTALLED)

    packages = read_packages(tmp_path)

    assert packages.kind == "apk"
    assert packages.find("/bin/busybox") == Package(name="busybox", version="1.36.1-r5")
    assert packages.find("/usr/lib/ld-musl-aarch64.so.1") == Package(
        name="musl", version="1.2.4-r2"
    )
    assert packages.find("/bin/other") is None


def test_a_root_without_packages(tmp_path: Path) -> None:
    packages = read_packages(tmp_path)

    assert packages.kind == ""
    assert packages.find("/bin/sh") is None


def test_a_database_that_leads_out_of_the_root_isnt_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, "outside/status", STATUS)
    (root / "var/lib").mkdir(parents=True)
    (root / "var/lib/dpkg").symlink_to(tmp_path / "outside")

    assert read_packages(root).kind == ""


def test_a_database_that_is_no_text(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/dpkg/status", "")
    (tmp_path / "var/lib/dpkg/status").write_bytes(b"\xff\xfe")

    with pytest.raises(InputError, match="no text"):
        read_packages(tmp_path)
