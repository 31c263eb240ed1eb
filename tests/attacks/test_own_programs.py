"""Programs of the machine that run in a step: Python, as which a step begins, and the emulator of its programs.

runc: CVE-2019-5736 (`/proc/self/exe` leads to the runtime, which root of a step may change). The emulators that
the kernel has open for a step are of the same kind.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.machine.stepping import Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

TRY_EXE = """
sleep 100 & p=$!
for at in /proc/$p/exe /proc/1/exe; do
  chmod 4777 $at 2>/dev/null && echo changed $at
  chown 12:34 $at 2>/dev/null && echo given $at
  touch -d @1 $at 2>/dev/null && echo dated $at
  dd if=/dev/null of=$at conv=notrunc 2>/dev/null && echo opened $at
  ln $at /tmp/linked 2>/dev/null && echo linked $at
done
kill $p
true
"""


def own_emulator(stepper: Stepper) -> Path:
    """Give the stepper's user an emulator of their own, which they may change outside of steps."""
    directory = stepper.host / "programs"
    directory.mkdir()
    copy = directory / "qemu-aarch64-static"
    shutil.copy("/usr/bin/qemu-aarch64-static", copy)
    for path in (directory, copy):
        os.chown(path, stepper.user.uid, stepper.user.gid)
    return copy


def test_the_emulator_is_not_the_steps_to_change(stepper: Stepper) -> None:
    emulator = own_emulator(stepper)
    before = emulator.stat()

    answer = stepper.script(
        f"report(shell({TRY_EXE!r}))", environ={"POLYARCH_QEMU_PATH": str(emulator.parent)}
    )

    # In a native step, the programs are the root's own.
    if stepper.architecture != "amd64":
        assert (answer["status"], answer["stdout"]) == (0, "")
    now = emulator.stat()
    assert (now.st_mode, now.st_uid, now.st_mtime) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime,
    )


def test_a_step_does_not_start_as_the_sandbox_again(stepper: Stepper) -> None:
    """Once it ran as that, it could change the machine's Python, or load what it likes into it."""
    (stepper.rootfs / "bin/exe").symlink_to("/proc/self/exe")
    for name, line in (
        ("script", "#!/proc/self/exe"),
        ("again", "#! /bin/script"),
        ("link", "#!/bin/exe x"),
    ):
        (stepper.rootfs / "bin" / name).write_text(f"{line}\n")
        (stepper.rootfs / "bin" / name).chmod(0o755)
    names = (
        "/proc/self/exe",
        "/proc/1/exe",
        "/proc/thread-self/exe",
        "exe",
        "script",
        "again",
        "link",
    )

    found = stepper.script(f"report([step(name) for name in {names}])")

    assert 0 not in {answer["status"] for answer in found}
    if stepper.runtime == "sandbox":  # the others start a copy of their program, or refuse it
        assert all(answer["refused"].startswith("exec ") for answer in found), found


TRY_SCRIPTS = """
from pathlib import Path
root = Path(arguments["rootfs"])
for directory in (root / "bin", Path(arguments["host"])):
    for name, text in arguments["scripts"].items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
def attempt(directory, name):
    answer = step(f"{directory}/{name}", "1", "2", mounts=(Bind(source=arguments["host"], target="/mounted"),))
    return answer["status"], answer["stdout"].replace(directory, ""), answer["refused"].replace(directory, "")
report([[attempt(directory, name) for directory in ("/bin", "/mounted")] for name in arguments["scripts"]])
"""


def test_programs_on_mounts_start_as_those_in_the_root(stepper: Stepper) -> None:
    """What others may change meanwhile is started by its descriptor, which mustn't show."""
    scripts = {
        "plain": "#!/bin/sh\necho $0 $@\n",
        "argument": "#! \t/bin/echo  -x y \t\nignored\n",
        "missing": "#!/bin/none\n",
        "nothing": "#!\n",
        "text": "no program\n",
        "blank": "",
    }

    found = stepper.script(TRY_SCRIPTS, scripts=scripts)

    assert [in_root for in_root, _ in found] == [on_mount for _, on_mount in found]
    assert [text for (_, text, _), _ in found][:2] == ["/plain 1 2\n", "-x y /argument 1 2\n"]
