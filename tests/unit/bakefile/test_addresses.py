"""Addresses of directories within repositories and archives."""

from __future__ import annotations

import pytest

from polyarch.bakefile.addresses import (
    is_local_path,
    is_remote,
    joined,
    unpacked,
    with_subdirectory,
)


@pytest.mark.parametrize(
    ("address", "path", "expected"),
    [
        ("https://h/r.git", "sub", "https://h/r.git#:sub"),
        ("https://h/r.git#v1", "./sub/", "https://h/r.git#v1:sub"),
        ("https://h/r.git#v1:a", "b/../c", "https://h/r.git#v1:a/c"),
        ("https://h/r.git#v1:a", "../../etc", "https://h/r.git#v1:a/etc"),
        ("https://h/r.git#v1:a", ".", "https://h/r.git#v1:a"),
        ("https://h/r.git?ref=v1&subdir=a", "b", "https://h/r.git?ref=v1&subdir=a%2Fb"),
        ("git@h:o/r.git", "sub", "git@h:o/r.git#:sub"),
        ("https://h/x.tar.gz", "/sub", "https://h/x.tar.gz#:sub"),
    ],
)
def test_a_directory_within(address: str, path: str, expected: str) -> None:
    assert with_subdirectory(address, path) == expected


@pytest.mark.parametrize(
    ("text", "remote", "local"),
    [
        ("https://h/x.hcl", True, False),
        ("github.com/o/r", True, False),
        ("git@h:o/r", True, False),
        ("https://h/r.git?nosuch=1", True, False),
        ("sub/dir", False, True),
        ("cwd://x", False, False),
        ("target:x", False, False),
        ("docker-image://x", False, False),
        ("default", False, True),
    ],
)
def test_what_is_where(text: str, remote: bool, local: bool) -> None:
    assert is_remote(text) is remote
    assert is_local_path(text) is local


@pytest.mark.parametrize(
    ("base", "expected"),
    [("a", "b/x"), ("cwd://a", "cwd://b/x"), ("https://h/r.git", "https://h/r.git#:b/x")],
)
def test_paths_are_joined_to_what_they_are_relative_to(base: str, expected: str) -> None:
    path = "../b/x" if not is_remote(base) else "b/x"

    assert joined(base, path) == expected


def test_named_contexts_of_archives_are_unpacked() -> None:
    assert unpacked("https://h/x.tar.gz") == "https://h/x.tar.gz#:."
    assert unpacked("https://h/r.git") == "https://h/r.git"
