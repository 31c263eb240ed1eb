from __future__ import annotations

import subprocess
from pathlib import Path

from polyarch.runtime.vm.cpio import device, directory, file, write_cpio


def test_an_archive_is_what_the_kernel_reads() -> None:
    archive = write_cpio([file("init", b"hello", 0o755)])

    assert archive == (
        b"070701"
        b"00000001000081ED00000000000000000000000100000000"
        b"0000000500000000000000000000000000000000"
        b"0000000500000000"
        b"init\0\0"
        b"hello\0\0\0"
        b"070701"
        b"00000000000000000000000000000000000000010000000000000000"
        b"00000000000000000000000000000000"
        b"0000000B00000000"
        b"TRAILER!!!\0\0\0\0"
    )


def test_the_program_of_that_name_lists_it() -> None:
    entries = [directory("dev"), device("dev/console", 5, 1), file("modules.ko", b"x" * 5)]

    listed = subprocess.run(
        ["cpio", "-tv", "--quiet", "--numeric-uid-gid"],
        input=write_cpio(entries),
        capture_output=True,
        check=True,
    ).stdout.decode()

    words = [line.split() for line in listed.splitlines()]
    assert [(each[0], each[2], each[3], each[-1]) for each in words] == [
        ("drwxr-xr-x", "0", "0", "dev"),
        ("crw-------", "0", "0", "dev/console"),
        ("-rw-r--r--", "0", "0", "modules.ko"),
    ]


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    entries = [directory("dev"), file("init", b"hello")]

    assert write_cpio(entries) == write_cpio(entries)
