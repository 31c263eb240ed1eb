"""A working directory, or a program, that is reached through what others have open.

runc: CVE-2024-21626 (WORKDIR /proc/self/fd/7), CVE-2019-5736 (`/proc/self/exe` as the program), CVE-2016-9962
(descriptors that are open while the step starts).
"""

from __future__ import annotations

import sys

import pytest

from tests.support.machine.stepping import Stepper

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

TRY_DIRECTORIES = """
def attempt(directory):
    answer = shell("touch OWNED 2>/dev/null; ls -a", cwd=directory)
    return [directory, answer["status"], answer["stdout"]]
directories = [f"/proc/self/fd/{n}{up}" for n in range(arguments["leaked"] + 12) for up in ("", "/../..")]
directories = [*directories[:6], *directories[2 * arguments["leaked"]:], *arguments["directories"]]
report([attempt(directory) for directory in directories])
"""


def names(stepper: Stepper) -> list[str]:
    return sorted(path.name for path in stepper.host.iterdir())


def test_nothing_that_is_open_elsewhere_is_entered(stepper: Stepper) -> None:
    (stepper.rootfs / "link").symlink_to("/dev/fd/0")
    (stepper.rootfs / "up").symlink_to("/proc/thread-self/cwd/../..")
    directories = ["/dev/fd/0", "/dev/fd/1/..", "/link", "/proc/1/fd/0", "/up"]
    directories += [f"/proc/{who}/{what}" for who in ("self", "1") for what in ("root", "cwd")]

    found = stepper.script(TRY_DIRECTORIES, directories=directories)

    assert [(status, text) for _, status, text in found] == [(1, "")] * len(found)
    assert names(stepper) == ["empty", "file"]


def test_links_of_the_image_are_followed_inside_of_it(stepper: Stepper) -> None:
    for name, to in (("a", "/made"), ("b", "../../../../made"), ("c", "a")):
        (stepper.rootfs / name).symlink_to(to)
    made = stepper.rootfs / "made"
    made.mkdir()
    made.chmod(0o777)
    script = (
        'report([shell("pwd -P", cwd=cwd)["stdout"] for cwd in ("/a", "/b", "/c/new/er", "/proc")])'
    )

    assert stepper.script(script) == ["/made\n", "/made\n", "/made/new/er\n", "/proc\n"]


def test_programs_are_not_taken_from_what_is_open(stepper: Stepper) -> None:
    program = stepper.host / "program"
    program.write_text("#!/bin/sh\necho OWNED\n")
    program.chmod(0o755)
    (stepper.rootfs / "bin/exe").symlink_to("/proc/self/exe")
    (stepper.rootfs / "bin/script").write_text("#!/proc/self/exe --version\n")
    (stepper.rootfs / "bin/script").chmod(0o755)
    script = """
fds = [f"/proc/self/fd/{n}/program" for n in range(arguments["leaked"] + 12)]
argvs = [(path,) for path in (*fds, "/bin/exe", "exe", "script", "/proc/self/exe", "/proc/1/exe")]
report([step(*argv, "-c", "print('OWNED')") for argv in argvs])
"""

    found = stepper.script(script)

    assert {answer["stdout"] for answer in found} == {""}
    assert 0 not in {answer["status"] for answer in found}


def test_a_step_has_three_descriptors_and_no_more(stepper: Stepper) -> None:
    script = """
report([shell("ls /proc/self/fd; cat | wc -c; ls -l /proc/1/fd | grep -c host; true",
              network=network)["stdout"] for network in (Network.HOST, Network.NONE)])
"""

    found = stepper.script(script)

    # ls itself has the directory that it lists open
    assert found == ["0\n1\n2\n3\n0\n0\n"] * 2


TRY_TERMINAL = """
from polyarch.request.talk import Talk
said = []
step = Step(argv=("sh", "-c", "tty; echo ~"), rootfs=arguments["rootfs"], env=("PATH=/bin",), hostname="x",
            network=Network.NONE)
ended = runtime.run(step, directory=Path("/nowhere"), on_output=lambda _, data: said.append(data),
                    cancel=token, talk=Talk(terminal=(24, 80)))
report([ended.status, b"".join(said).decode()])
"""


def plant_modules(stepper: Stepper) -> None:
    """Put modules where the interpreter's own are, that would tell that they were loaded."""
    names = (
        "json",
        "socket",
        "fcntl",
        "termios",
        "pwd",
        "stat",
        "struct",
        "encodings/idna",
        "signal",
    )
    for directory in {"usr/lib/python3.11", *(path.lstrip("/") for path in sys.path if path)}:
        for name in names:
            path = stepper.rootfs / directory / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("open('/OWNED', 'w')\n")


def test_nothing_of_the_image_is_imported_or_followed(stepper: Stepper) -> None:
    plant_modules(stepper)
    (stepper.rootfs / "etc/passwd").unlink()
    (stepper.rootfs / "etc/passwd").symlink_to("/proc/self/fd/0")
    is_sandbox = stepper.runtime == "sandbox" and stepper.architecture == "amd64"

    script = TRY_TERMINAL if is_sandbox else 'report([shell("true")["status"], ""])'
    status, said = stepper.script(script)

    assert (status, said) == (0, "/dev/pts/0\r\n/\r\n" if is_sandbox else "")
    assert not (stepper.rootfs / "OWNED").exists()
