"""What the kernel's settings say about a namespace that it refused."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from polyarch.namespaces.causes import forbidden, namespace_trouble


@pytest.mark.parametrize(
    ("path", "text", "command"),
    [
        (
            "proc/sys/kernel/unprivileged_userns_clone",
            "0\n",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        ("proc/sys/user/max_user_namespaces", "0\n", "sysctl -w user.max_user_namespaces=15000"),
        (
            "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("proc/self/status", "Name:\tx\nSeccomp:\t2\n", "--security-opt seccomp=unconfined"),
        ("proc/sys/user/max_user_namespaces", "5\n", "unshare --user --mount true"),
    ],
)
def test_what_forbids_namespaces_and_what_fixes_it(
    tmp_path: Path, path: str, text: str, command: str
) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)

    error = forbidden(PermissionError(1, "Operation not permitted"), str(tmp_path))

    assert "namespaces for the build can't be made" in str(error)
    assert command in error.hint


def test_a_limit_is_no_full_disk() -> None:
    assert namespace_trouble(OSError(errno.ENOSPC, "")) == "the limit of namespaces is reached"
