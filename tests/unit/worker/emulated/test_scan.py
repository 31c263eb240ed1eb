"""What a foreign run would not have made is found, and what a package brought isn't taken for it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from polyarch.worker.emulated.scan import HEADER_SIZE, find_native, find_unlike

HOST = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(300)
FOREIGN = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(300)
PATCHED = FOREIGN[:-1] + b"!"
HEADERS = {FOREIGN[:HEADER_SIZE]: {hashlib.sha256(FOREIGN).hexdigest()}}
TRIPLET = b"host=x86_64-pc-linux-gnu\n"


def write(root: Path, name: str, data: bytes, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("opt/tool", HOST, "/opt/tool is a program or a library of this machine"),
        ("lib/liba.a", b"!<arch>\n" + bytes(60) + HOST, "/lib/liba.a has code of this machine in it"),
        ("src/config.log", TRIPLET, "/src/config.log names this machine"),
        ("a/x86_64-linux-gnu/b", b"", "/a/x86_64-linux-gnu is named after this machine"),
        ("bin/sh", PATCHED, "/bin/sh begins like a program that has a native twin, but isn't it"),
    ],
)  # fmt: skip
def test_found(tmp_path: Path, name: str, data: bytes, found: str) -> None:
    write(tmp_path, name, data)

    assert str(find_native(tmp_path, HEADERS)) == found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bin/sh", FOREIGN),
        ("bin/other", FOREIGN[:50] + b"?" + FOREIGN[51:]),
        ("lib/liba.a", b"!<arch>\n" + bytes(60) + FOREIGN),
        ("src/config.log", b"host=aarch64-unknown-linux-gnu x86_64-linux-gnux32 x86_64-apple\n"),
        ("data", b"\0" + TRIPLET),
        ("empty", b""),
        ("var/lib/dpkg/available", TRIPLET),
        ("var/lib/apt/lists/deb_Packages", TRIPLET),
    ],
)
def test_nothing_to_be_found(tmp_path: Path, name: str, data: bytes) -> None:
    write(tmp_path, name, data)

    assert find_native(tmp_path, HEADERS) is None


def test_a_link_to_files_of_this_machine_is_found(tmp_path: Path) -> None:
    (tmp_path / "lib").symlink_to("/usr/lib/x86_64-linux-gnu")

    assert str(find_native(tmp_path, {})) == "/lib leads to files of this machine"


def test_what_a_deb_brought_is_no_finding(tmp_path: Path) -> None:
    write(tmp_path, "usr/share/doc/cross/README", TRIPLET)
    write(tmp_path, "usr/x86_64-linux-gnu/lib/a.so", HOST)
    (tmp_path / "usr/x86_64-linux-gnu/lib/b.so").symlink_to("../../x86_64-linux-gnu/lib/a.so")
    names = (
        "/usr/share/doc/cross/README\n/usr/x86_64-linux-gnu\n/usr/x86_64-linux-gnu/lib/a.so\n"
        "/usr/x86_64-linux-gnu/lib/b.so\n"
    )
    sums = (
        f"{hashlib.md5(TRIPLET).hexdigest()}  usr/share/doc/cross/README\n"
        f"{hashlib.md5(HOST).hexdigest()}  usr/x86_64-linux-gnu/lib/a.so\n"
    )
    write(tmp_path, "var/lib/dpkg/info/cross.list", names.encode())
    write(tmp_path, "var/lib/dpkg/info/cross.md5sums", sums.encode())
    before = find_native(tmp_path, HEADERS)
    write(tmp_path, "usr/x86_64-linux-gnu/lib/a.so", HOST + b"more")

    assert before is None
    assert str(find_native(tmp_path, HEADERS)) == (
        "/usr/x86_64-linux-gnu/lib/a.so is a program or a library of this machine"
    )


def test_what_apk_brought_is_no_finding(tmp_path: Path) -> None:
    write(tmp_path, "usr/share/cross", TRIPLET)
    digest = base64.b64encode(hashlib.sha1(TRIPLET).digest()).decode()
    text = f"P:cross\nF:usr\nF:usr/share\nR:cross\nZ:Q1{digest}\n\n"
    write(tmp_path, "lib/apk/db/installed", text.encode())

    assert find_native(tmp_path, HEADERS) is None


def test_a_program_that_only_begins_like_one_with_a_twin(tmp_path: Path) -> None:
    write(tmp_path, "bin/sh", FOREIGN, 0o755)
    write(tmp_path, "doc/sh", PATCHED)
    before = find_unlike(tmp_path, HEADERS)
    write(tmp_path, "opt/sh", PATCHED, 0o755)

    assert (before, find_unlike(tmp_path, HEADERS)) == ("", "/opt/sh")
