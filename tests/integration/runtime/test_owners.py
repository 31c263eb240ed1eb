"""Owners and users in steps of somebody who has one id only, native and emulated: recorded, and told of as if real."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.inroot import get_owner
from tests.support.machine.engines import User
from tests.support.machine.stepping import Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]


@pytest.fixture(params=["amd64", "arm64"])
def stepper(
    request: pytest.FixtureRequest,
    user_with_one_id: User,
    rootfs_of: Callable[..., Path],
    tmp_path: Path,
) -> Stepper:
    return Stepper(
        user=user_with_one_id,
        runtime="sandbox",
        architecture=str(request.param),
        rootfs=rootfs_of(user_with_one_id, str(request.param)),
        host=tmp_path,
    )


def shell(stepper: Stepper, script: str, more: str = "") -> list[str]:
    answer = stepper.script(f"report(shell({script!r}, {more}))")
    assert answer["status"] == 0, answer
    return str(answer["stdout"]).splitlines()


def test_owners_that_are_given_are_seen_and_kept(stepper: Stepper) -> None:
    script = """
mkdir d; echo a >d/f; ln -s f d/l; mkfifo d/p; ln -s / d/root
chown 1:2 d; chown 3:4 d/f; chown -h 5:6 d/l; chown 7:8 d/p; chown 9:4 d/l
stat -c '%u:%g %n' d d/f d/l d/p; cp -a d/f copy; mv d/l moved; stat -c '%u:%g %n' copy moved
chown 0:0 d; chown :9 d/p; stat -c '%u:%g' d d/p
"""

    found = shell(stepper, script)

    assert found == [
        *("1:2 d", "9:4 d/f", "5:6 d/l", "7:8 d/p"),
        *("9:4 copy", "5:6 moved"),
        *("0:0", "7:9"),
    ]
    assert get_owner(stepper.rootfs / "moved") == (5, 6)
    assert get_owner(stepper.rootfs / "copy") == (9, 4)


def test_chown_does_what_it_does_for_others(stepper: Stepper) -> None:
    """Bits are cleared, errors are the kernel's, and what isn't the step's alone stays as it is."""
    script = """
echo >f; chmod 6755 f; chown 1 f; stat -c %a f
for each in /none /bin/busybox/x loop; do ln -sf loop loop; chown 1 $each 2>&1 | sed 's/.*: //'; done
chown 1 /dev/stdout /dev/null /proc/self/fd/2 && echo fine; chown 1 /proc/version || echo no
"""

    assert shell(stepper, script) == [
        "755",
        *("No such file or directory", "Not a directory", "Too many levels of symbolic links"),
        *("fine", "no"),
    ]


def test_a_user_makes_files_of_its_own(stepper: Stepper) -> None:
    script = """
cd /tmp; umask 027; echo >f; mkdir d; ln -s x l; mkfifo p; mktemp -p . XXXXXX >/dev/null
find . -exec stat -c '%u:%g %a %F' {} + | sort | uniq -c | sed 's/^ *//'
id; mkdir /shared/sub; stat -c '%u:%g %a' /shared/sub
"""
    (stepper.rootfs / "shared").mkdir()
    os.chown(stepper.rootfs / "shared", stepper.user.uid, stepper.user.gid)
    prepare = "chown 0:50 /shared; chmod 2777 /shared"

    shell(stepper, prepare)
    found = shell(stepper, script, "uid=1000, gid=1001, groups=(1001, 5)")

    assert found == [
        "1 0:0 1777 directory",
        "1 1000:1001 600 regular empty file",
        "1 1000:1001 640 fifo",
        "1 1000:1001 640 regular file",
        "1 1000:1001 750 directory",
        "1 1000:1001 777 symbolic link",
        "uid=1000 gid=1001 groups=1001,5",
        "1000:50 2750",
    ]


def test_users_are_left_for_good(stepper: Stepper) -> None:
    """Who becomes somebody stays it, and so do those that it starts; others aren't concerned."""
    script = """
echo 'app:x:1000:1000::/:/bin/sh' >>/etc/passwd
su app -c 'id -u; (id -u; id -g) & wait; sh -c "id -u"; su root -c id 2>/dev/null </dev/null; touch /tmp/a'
id -u; touch /tmp/b; stat -c '%u:%g' /tmp/a /tmp/b
"""

    assert shell(stepper, script)[-7:] == ["1000", "1000", "1000", "1000", "0", "1000:1000", "0:0"]


def test_insecure_steps_have_owners_too(stepper: Stepper) -> None:
    script = "echo >f; chown 5:6 f; stat -c '%u:%g' f"

    assert shell(stepper, script, "security=Security.INSECURE") == ["5:6"]
