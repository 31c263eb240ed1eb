"""What is removed after a step: mount points that were made for it, and never what they were turned into.

BuildKit: CVE-2024-23652 (removing stubs deletes files of the machine), CVE-2024-23651 (sources of mounts that
change on the way); buildah: CVE-2024-9407, CVE-2024-1753 (mounts that lead outside).
"""

from __future__ import annotations

import os

import pytest

from tests.support.machine.stepping import Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]


@pytest.mark.parametrize("below", ["", "/in"])
def test_links_in_the_place_of_mount_points(stepper: Stepper, below: str) -> None:
    """The attack of CVE-2024-23652, on empty directories, empty files, and the times of directories."""
    (stepper.host / "in/b/c").mkdir(parents=True)
    (stepper.host / "in/b/file").touch()
    for directory in ("in/b", "in", "."):
        os.chown(stepper.host / directory, stepper.user.uid, stepper.user.gid)
        os.utime(stepper.host / directory, (1, 1))
    host = str(stepper.host) + below
    binds = (
        f"Bind(source={str(stepper.host / 'file')!r}, target='/a/b/file'), Tmpfs(target='/a/b/c')"
    )
    move = f"mv /a /a2 && mkdir /a && ln -s {host}/in/b /a/b; rm -rf /a && ln -s {host}/in /a"

    answer = stepper.script(
        f"report(shell({move!r}, mounts=({binds}, Tmpfs(target='/x/empty'), Tmpfs(target='/x/b'))))"
    )

    assert answer["status"] == 0, answer
    assert sorted(os.listdir(stepper.host / "in/b")) == ["c", "file"]
    assert [(stepper.host / name).stat().st_mtime for name in ("in/b", "in", ".")] == [1, 1, 1]
    assert not (stepper.rootfs / "a2").exists() or os.listdir(stepper.rootfs / "a2") == []


def test_a_stub_that_is_another_file_by_now_stays(stepper: Stepper) -> None:
    mounts = "Tmpfs(target='/one/x'), Tmpfs(target='/two/y')"
    script = "mv /one /three && mkdir -p /one/x && mv /two /one/x/two && mkdir /two"

    answer = stepper.script(f"report(shell({script!r}, mounts=({mounts},)))")

    assert answer["status"] == 0, answer
    assert os.listdir(stepper.rootfs / "one") == ["x"]
    assert os.listdir(stepper.rootfs / "two") == []


def test_stubs_are_not_made_outside(stepper: Stepper) -> None:
    for number, to in enumerate(
        (str(stepper.host), "../../../.." + str(stepper.host), "/proc/self/cwd")
    ):
        (stepper.rootfs / f"l{number}").symlink_to(to)
    script = """
report([shell("true", mounts=(Tmpfs(target=f"/l{number}/made"),))["status"] for number in range(3)])
"""

    stepper.script(script)

    assert sorted(os.listdir(stepper.host)) == ["empty", "file"]
