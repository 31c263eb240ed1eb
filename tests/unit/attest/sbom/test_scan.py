"""The packages in root file systems: those that each tool lists, and no others."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.attest.sbom.scan import scan
from polyarch.attest.sbom.urls import package_url


def plant(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def urls(root: Path) -> list[str]:
    return [package_url(each).to_string() for each in scan(root).packages]


RELEASE = 'PRETTY_NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\n'
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.41-1)
Version: 2.41-1+b1
Maintainer: GNU Libc Maintainers <libc@example.test>
Description: a library
 of many lines: with colons

Package: gone
Status: deinstall ok config-files
Version: 1

Package: held
Status: hold ok installed
Architecture: all
Version: 1:2~rc1
"""


def test_dpkg(tmp_path: Path) -> None:
    files = {
        "etc/os-release": RELEASE,
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/status.d/base": "Package: base\nVersion: 3\nArchitecture: all\n",
        "var/lib/dpkg/status.d/base.md5sums": "Package: none\nVersion: 3\n",
    }
    root = plant(tmp_path, files)

    assert urls(root) == [
        "pkg:deb/debian/base@3?arch=all&distro=debian-13",
        "pkg:deb/debian/held@1:2~rc1?arch=all&distro=debian-13",
        "pkg:deb/debian/libc6@2.41-1%2Bb1?arch=amd64&distro=debian-13&upstream=glibc%402.41-1",
    ]


APK = """\
C:Q1abc=
P:musl
V:1.2.5-r9
A:x86_64
L:MIT
o:musl
m:Somebody <s@example.test>
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1x=

C:Q1def=
P:ssl_client
V:1.37.0-r12
A:x86_64
L:GPL-2.0-only
o:busybox
F:usr
P:not-a-package
"""


@pytest.mark.parametrize("place", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_apk(tmp_path: Path, place: str) -> None:
    release = "ID=alpine\nVERSION_ID=3.22.1\n"
    root = plant(tmp_path, {"usr/lib/os-release": release, place: APK})

    assert urls(root) == [
        "pkg:apk/alpine/musl@1.2.5-r9?arch=x86_64&distro=alpine-3.22.1",
        "pkg:apk/alpine/ssl_client@1.37.0-r12?arch=x86_64&distro=alpine-3.22.1&upstream=busybox",
    ]


def test_python(tmp_path: Path) -> None:
    site = "usr/lib/python3/dist-packages"
    files = {
        f"{site}/Foo_Bar-1.0.dist-info/METADATA": "Name: Foo_Bar\nVersion: 1.0\nLicense: MIT\n\nName: no\n",
        f"{site}/old.egg-info": "Name: old\nVersion: 2\n",
        f"{site}/egg.egg-info/PKG-INFO": "Name: egg\nVersion: 3\n",
        f"{site}/~oo_Bar-1.0.dist-info/METADATA": "Name: leftover\nVersion: 1\n",
        f"{site}/setuptools/_vendor/wheel-0.1.dist-info/METADATA": "Name: wheel\nVersion: 0.1\n",
        f"{site}/nameless-1.dist-info/METADATA": "Version: 1\n",
        "opt/venv/lib/python3.13/site-packages/six-1.17.dist-info/METADATA": "Name: six\nVersion: 1.17\n",
    }

    assert urls(plant(tmp_path, files)) == [
        "pkg:pypi/egg@3",
        "pkg:pypi/foo-bar@1.0",
        "pkg:pypi/old@2",
        "pkg:pypi/six@1.17",
    ]


def test_node(tmp_path: Path) -> None:
    def manifest(name: str, version: str = "1.0.0", **fields: object) -> str:
        return json.dumps({"name": name, "version": version, **fields})

    files = {
        "app/package.json": manifest("app"),
        "app/node_modules/a/package.json": manifest("a", license="MIT"),
        "app/node_modules/a/esm/package.json": '{"type": "module"}',
        "app/node_modules/a/node_modules/b/package.json": manifest("b", "2.0.0"),
        "app/node_modules/a/test/node_modules/fixture/package.json": manifest("fixture"),
        "app/node_modules/@scope/c/package.json": manifest("@scope/c", author={"name": "me"}),
        "app/node_modules/.bin/package.json": manifest("bin"),
        "app/node_modules/.pnpm/d@1/node_modules/d/package.json": manifest("d"),
        "app/node_modules/broken/package.json": "{",
        "app/packages/linked/package.json": manifest("linked"),
    }
    root = plant(tmp_path, files)
    (root / "app/node_modules/linked").symlink_to("../packages/linked")
    (root / "app/node_modules/outside").symlink_to("/../../../../../../../etc")

    assert urls(root) == [
        "pkg:npm/a@1.0.0",
        "pkg:npm/b@2.0.0",
        "pkg:npm/d@1.0.0",
        "pkg:npm/linked@1.0.0",
        "pkg:npm/%40scope/c@1.0.0",
    ]


def header(fields: Mapping[int, str | int]) -> bytes:
    """Return a header of rpm's: index entries, and a store of values."""
    entries, store = b"", b""
    for tag, value in fields.items():
        kind = 4 if isinstance(value, int) else 6
        if kind == 4:
            store += b"\0" * (-len(store) % 4)
        entries += struct.pack(">IIII", tag, kind, len(store), 1)
        store += struct.pack(">I", value) if isinstance(value, int) else value.encode() + b"\0"
    return struct.pack(">II", len(fields), len(store)) + entries + store


BASH = header({1000: "bash", 1001: "5.2", 1002: "1.fc41", 1003: 2, 1014: "GPLv3+", 1022: "x86_64"})
KEY = header({1000: "gpg-pubkey", 1001: "abc", 1002: "1"})
RPM = ["pkg:rpm/fedora/bash@5.2-1.fc41?arch=x86_64&distro=fedora-41&epoch=2"]
FEDORA = {"etc/os-release": "ID=fedora\nVERSION_ID=41\n"}


def test_rpm_in_sqlite(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", FEDORA)
    place = root / "usr/lib/sysimage/rpm"
    place.mkdir(parents=True)
    connection = sqlite3.connect(place / "rpmdb.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")  # as rpm has it
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    rows = [(1, BASH), (2, KEY), (3, b"damaged")]
    connection.executemany("INSERT INTO Packages VALUES (?, ?)", rows)
    connection.commit()
    connection.close()

    assert urls(root) == RPM


def test_rpm_in_the_log_of_sqlite(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", FEDORA)
    place = root / "var/lib/rpm"
    place.mkdir(parents=True)
    connection = sqlite3.connect(tmp_path / "db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    connection.execute("INSERT INTO Packages VALUES (1, ?)", (BASH,))
    connection.commit()
    # As it is while rpm has it open, and stays where that is killed.
    for name in ("", "-wal"):
        (place / f"rpmdb.sqlite{name}").write_bytes((tmp_path / f"db{name}").read_bytes())
    log = (place / "rpmdb.sqlite-wal").read_bytes()

    assert urls(root) == RPM
    # A frame that no transaction ended, and one of an older round, count for nothing.
    size = 24 + int.from_bytes(log[8:12], "big")
    unended = log[-size : -size + 4] + bytes(4) + log[8 - size : 24 - size] + bytes(size - 24)
    for more in (unended, bytes(size), b"short"):
        (place / "rpmdb.sqlite-wal").write_bytes(log + more)
        assert urls(root) == RPM
    for damaged in (b"\xff" * 40, log[:32], log[:8] + b"\0\0\0\1" + log[12:]):
        (place / "rpmdb.sqlite-wal").write_bytes(damaged)
        assert urls(root) == []
    connection.close()


def bdb(order: str, *values: bytes) -> bytes:
    """Return a hash of Berkeley DB: the last value is on a chain of two pages, the others in place."""
    size = 512

    def page(kind: int, entries: int, used: int, follows: int, body: bytes) -> bytes:
        head = struct.pack(f"{order}8xIIIHHBB", 0, 0, follows, entries, used, 1, kind)
        return (head + body).ljust(size, b"\0")

    meta = struct.pack(f"{order}8xIIII", 0, 0x00061561, 9, size).ljust(size, b"\0")
    items, places, end = b"", [], size
    large = values[-1]
    elsewhere = b"\3\0\0\0" + struct.pack(f"{order}II", 2, len(large))
    for number, item in enumerate((*(b"\1" + each for each in values[:-1]), elsewhere)):
        for part in (b"\1" + struct.pack(f"{order}I", number), item):
            end -= len(part)
            places.append(end)
            items = part + items
    table = struct.pack(f"{order}{len(places)}H", *places)
    body = table.ljust(size - 26 - len(items), b"\0") + items
    half = len(large) // 2
    return b"".join(
        (
            meta,
            page(13, len(places), 0, 0, body),
            page(7, 1, half, 3, large[:half]),
            page(7, 1, len(large) - half, 0, large[half:]),
        )
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_rpm_in_berkeley_db(tmp_path: Path, order: str) -> None:
    data = bdb(order, b"\1\0\0\0", KEY, BASH)

    assert urls(plant(tmp_path, {**FEDORA, "var/lib/rpm/Packages": data})) == RPM


def test_damaged_hashes_end(tmp_path: Path) -> None:
    data = bytearray(bdb("<", BASH))
    data[3 * 512 + 16 : 3 * 512 + 20] = struct.pack("<I", 2)  # the chain bites its tail
    for damaged in (bytes(data), data[:1030], data[:24], data[:20] + b"\xff" * 2000):
        assert len(urls(plant(tmp_path, {"var/lib/rpm/Packages": bytes(damaged)}))) <= 1


def test_rpm_in_its_own_form(tmp_path: Path) -> None:
    slots = struct.pack("<IIII", *struct.unpack("<I", b"Slot"), 1, 256, len(BASH) // 16 + 1)
    page = (b"RpmP" + struct.pack("<III", 0, 0, 1)).ljust(32, b"\0") + slots
    blob = b"BlbS" + struct.pack("<III", 1, 1, len(BASH)) + BASH
    data = page.ljust(4096, b"\0") + blob

    assert urls(plant(tmp_path, {**FEDORA, "var/lib/rpm/Packages.db": data})) == RPM


def elf(sections: Mapping[str, bytes]) -> bytes:
    """Return a program of 64 bits that has these sections, and nothing to run."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    body, rows = b"", []
    for name, data in {**sections, ".shstrtab": names}.items():
        rows.append((names.index(name.encode() + b"\0"), 64 + len(body), len(data)))
        body += data
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)
        for name, offset, size in rows
    )
    head = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(rows), len(rows) - 1
    )
    return (head + body + table).ljust(600, b"\0")


def go_info(lines: str) -> bytes:
    def text(data: bytes) -> bytes:
        length = bytes([len(data) & 0x7F | 0x80, len(data) >> 7])
        return length + data

    guard = b"\x30\x77\xaf\x0c" * 4
    start = b"\xff Go buildinf:" + bytes([8, 2])
    return start.ljust(32, b"\0") + text(b"go1.25.1 X:exp") + text(guard + lines.encode() + guard)


def test_programs(tmp_path: Path) -> None:
    info = (
        "path\texample.test/cmd\nmod\texample.test/cmd\tv1.2.3\th1:x=\n"
        "dep\texample.test/old\tv1.0.0\n=>\texample.test/new\tv1.1.0\th1:y=\n"
        "dep\tgolang.org/x/sys\tv0.30.0\th1:z=\nbuild\tCGO_ENABLED=0\n"
    )
    crates = {"packages": [{"name": "serde", "version": "1.0", "source": "crates.io"}]}
    crates["packages"].append({"name": "cc", "version": "1.1", "kind": "build"})
    data = elf(
        {".go.buildinfo": go_info(info), ".dep-v0": zlib.compress(json.dumps(crates).encode())}
    )
    root = plant(tmp_path, {"bin/app": data, "bin/data": data, "bin/short": b"\x7fELF"})
    for name in ("app", "short"):
        os.chmod(root / "bin" / name, 0o755)

    assert urls(root) == [
        "pkg:cargo/serde@1.0",
        "pkg:golang/stdlib@1.25.1",
        "pkg:golang/example.test/cmd@v1.2.3",
        "pkg:golang/example.test/new@v1.1.0",
        "pkg:golang/golang.org/x/sys@v0.30.0",
    ]


def test_lock_files_of_cargo(tmp_path: Path) -> None:
    text = '[[package]]\nname = "serde"\nversion = "1.0.1"\n\n[[package]]\nname = 3\n'

    root = plant(tmp_path, {"src/Cargo.lock": text, "other/Cargo.lock": "no toml"})

    assert urls(root) == ["pkg:cargo/serde@1.0.1"]


def jar(members: Mapping[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_java(tmp_path: Path) -> None:
    properties = "#made\ngroupId=org.example\nartifactId=inner\nversion=2.0\n"
    inner = jar({"META-INF/maven/org.example/inner/pom.properties": properties})
    manifest = "Manifest-Version: 1.0\nImplementation-Version: 9\n"
    files = {
        "app/all.war": jar({"WEB-INF/lib/inner-2.0.jar": inner, "META-INF/MANIFEST.MF": manifest}),
        "app/guava-33.4.jar": jar({"a": ""}),
        "app/broken.jar": b"PK\3\4",
        "app/unknown.jar": jar({"a": ""}),
    }

    assert urls(plant(tmp_path, files)) == [
        "pkg:maven/all@9",
        "pkg:maven/guava@33.4",
        "pkg:maven/org.example/inner@2.0",
    ]


def test_what_is_hostile_is_nothing(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"bin/x": b"\x7fELF\2\1" + b"\xff" * 600})
    os.chmod(root / "bin/x", 0o755)
    secret = plant(tmp_path, {"outside/status": STATUS}) / "outside/status"
    place = root / "var/lib/dpkg"
    place.mkdir(parents=True)
    (place / "status").symlink_to(secret)
    os.mkfifo(root / "Cargo.lock")
    (root / "loop").symlink_to(".")
    wrong = header({1000: "a", 1001: "1"})[:-8]
    plant(root, {"var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" + b"\xff" * 4096})
    plant(root, {"usr/lib/sysimage/rpm/Packages.db": b"RpmP" + b"\xff" * 64 + wrong})

    assert urls(root) == []


def test_each_package_is_found_once(tmp_path: Path) -> None:
    lock = '[[package]]\nname = "serde"\nversion = "1"\n'

    assert urls(plant(tmp_path, {"a/Cargo.lock": lock, "b/Cargo.lock": lock})) == [
        "pkg:cargo/serde@1"
    ]
