"""Steps that fail or can't be run here: their last lines, how they ended, and what the machine lacks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine.engines import User
from tests.support.machine.programs import Ended, Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

SOLVE = "ERROR: failed to build: failed to solve: "


def excerpt(line: int, *lines: str, first: int = 1) -> str:
    """Return the part of a Dockerfile that an error shows, `line` marked."""
    shown = (
        f" {number:3} | {'>>>' if number == line else '   '} {text}"
        for number, text in enumerate(lines, first)
    )
    return "\n".join([f"Dockerfile:{line}", "-" * 20, *shown, "-" * 20, ""])


def build(who: Person, registry: RealRegistry, step: str, *words: str) -> tuple[Ended, str]:
    """Run one step over busybox; return how that ended, and the excerpt that shows it."""
    base = f"FROM {registry.host}/library/busybox"
    who.write("Dockerfile", f"{base}\n{step}\n")
    return who.run("build", *words, "."), excerpt(2, base, step, "")


def process(command: str, status: int) -> str:
    return f'{SOLVE}process "{command}" did not complete successfully: exit code: {status}\n'


def test_a_step_that_fails(who: Person, registry: RealRegistry) -> None:
    step = "RUN for i in $(seq 20); do echo line $i; done; echo last >&2; exit 7"
    ended, where = build(who, registry, step)

    assert (ended.status, ended.complaint()) == (
        1,
        where + process(f"/bin/sh -c {step.removeprefix('RUN ')}", 7),
    )
    tail = ended.err.partition(f" > [2/2] {step}:\n")[2].partition("------")[0]
    printed = [line.partition(" ")[2] for line in tail.splitlines()]
    assert printed == [*(f"line {number}" for number in range(12, 21)), "last"]


def test_the_siblings_of_a_step_that_fails_are_ended(root: Person, registry: RealRegistry) -> None:
    base = f"FROM {registry.host}/library/busybox"
    text = f"{base} AS a\nRUN sleep 600\n{base}\nRUN exit 3\nCOPY --from=a /bin/sh /x\n"
    root.write("Dockerfile", text)

    ended = root.run("build", ".", seconds=60)

    assert ended.status == 1
    assert ended.complaint().endswith(process("/bin/sh -c exit 3", 3))


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (
            9,
            (
                "SIGKILL ended it; if nobody sent that, "
                "the machine may be short of memory (see dmesg)"
            ),
        ),
        (11, "SIGSEGV ended it"),
        (15, "SIGTERM ended it"),
    ],
)
def test_a_step_that_is_killed(
    root: Person, registry: RealRegistry, number: int, hint: str
) -> None:
    command = f"sh -c 'kill -{number} $$'; exit $?"
    ended, where = build(root, registry, f"RUN {command}")

    assert ended.status == 1
    assert ended.complaint() == (
        where + process(f"/bin/sh -c {command}", 128 + number) + f"hint: {hint}\n"
    )


def test_a_program_that_is_not_there(who: Person, registry: RealRegistry) -> None:
    ended, where = build(who, registry, "RUN nosuchprogram")

    assert ended.status == 1
    assert ended.complaint() == (
        where
        + process("/bin/sh -c nosuchprogram", 127)
        + "hint: a program wasn't found; PATH of the step: /usr/sbin:/usr/bin:/sbin:/bin\n"
    )


def test_a_program_of_the_exec_form_that_is_not_there(who: Person, registry: RealRegistry) -> None:
    ended, where = build(who, registry, 'RUN ["/no/such", "x"]')

    assert ended.status == 1
    assert ended.complaint() == (
        where + process("/no/such x", 1) + "hint: exec /no/such: no such file or directory\n"
    )


def test_no_shell(who: Person) -> None:
    who.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\nRUN echo hi\n")
    ended = who.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(3, "FROM scratch", "COPY Dockerfile /", "RUN echo hi", "")
        + process("/bin/sh -c echo hi", 1)
        + "hint: the image has no /bin/sh to run it with: "
        'use the exec form, RUN ["PROGRAM", ...], or SHELL\n'
    )


def test_an_unknown_user(root: Person, registry: RealRegistry) -> None:
    base = f"FROM {registry.host}/library/busybox"
    root.write("Dockerfile", f"{base}\nUSER ghost\nRUN true\n")
    ended = root.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(3, base, "USER ghost", "RUN true", "")
        + f"{SOLVE}unable to find user ghost: no matching entries in passwd file\n"
        "hint: create the user in an earlier RUN, or use its number\n"
    )


def test_a_secret_that_is_wanted(root: Person, registry: RealRegistry) -> None:
    step = "RUN --mount=type=secret,id=x,required=true cat /run/secrets/x"
    ended, where = build(root, registry, step)

    assert ended.status == 1
    assert ended.complaint() == (
        f"{where}{SOLVE}secret x: not found\nhint: give it with --secret id=x,src=FILE\n"
    )


@pytest.mark.parametrize(
    "command", ["chown 1:1 /bin/sh", "su -s /bin/sh -c true daemon", "chgrp 7 /tmp"]
)
def test_a_user_without_subordinate_ids_needs_some_for_runc(
    user_with_one_id: User, tmp_path: Path, registry: RealRegistry, command: str
) -> None:
    who = person(user_with_one_id, tmp_path / "home")
    passwd = "echo daemon:x:1:1::/:/bin/sh >>/etc/passwd && "
    step = f"RUN {passwd}{command}"
    build(who, registry, step)[0].check()
    who.environ["POLYARCH_RUNTIME"] = "runc"
    ended, _ = build(who, registry, f"{step} # again")

    assert ended.status == 1
    assert "this runtime has no user ids but your own here" in ended.err
    assert f"--add-subgids 100000-165535 {who.user.name}\n" in ended.err


def test_nobody_else_is(root: Person, registry: RealRegistry) -> None:
    ended, _ = build(root, registry, "RUN echo Invalid argument; false")

    assert (ended.status, "user ids" in ended.err) == (1, False)


# --- what the machine lacks; each in mount and user namespaces of its own ---

HIDE_EMULATORS = """
export POLYARCH_QEMU_IMAGE=none
mkdir empty
mount --bind empty /proc/sys/fs/binfmt_misc
if [ -d /usr/libexec/qemu-binfmt ]; then mount --bind empty /usr/libexec/qemu-binfmt; fi
"""
HIDE_RUNTIMES = """
for each in /usr/local/sbin/runc /usr/local/bin/runc /usr/sbin/runc /usr/bin/runc \\
        /usr/local/bin/crun /usr/bin/crun; do
    if [ -e $each ]; then mount --bind /dev/null $each; fi
done
"""


def elsewhere(who: Person, setup: str, *words: str, unshare: str = "--mount") -> Ended:
    """Run polyarch after `setup`, a shell script, in a namespace of its own."""
    script = f'cd "$(mktemp -d -p "$HOME")"\n{setup}\ncd "$HOME/work"\nexec "$@"'
    return who.run_other("unshare", unshare, "sh", "-ec", script, "sh", *who.command(*words))


def built_elsewhere(who: Person, setup: str, *words: str, unshare: str = "--mount") -> Ended:
    """Build after `setup`, a shell script, in a namespace of its own."""
    return elsewhere(who, setup, "build", *words, unshare=unshare)


def test_no_emulator(root: Person, registry: RealRegistry) -> None:
    base = f"FROM {registry.host}/library/busybox"
    root.write("Dockerfile", f"{base}\nRUN echo native > /x\nRUN echo two\n")
    setup = f"{HIDE_EMULATORS}\nexport PATH=/usr/sbin"

    ended = built_elsewhere(root, setup, "--platform=linux/arm64", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(2, base, "RUN echo native > /x", "RUN echo two", "")
        + f"{SOLVE}linux/arm64 can't be run here, natively or emulated\n"
        "hint: install static QEMU emulators (Debian, Ubuntu: apt-get install qemu-user-static), "
        "or have root run: polyarch binfmt install arm64\n"
    )
    assert "exec format error" not in ended.err


def test_no_emulator_for_several_platforms(root: Person, registry: RealRegistry) -> None:
    """All are told at once, before the native step runs."""
    base = f"FROM {registry.host}/library/busybox"
    root.write("Dockerfile", f"{base}\nRUN echo ran\nRUN echo two\n")
    setup = f"{HIDE_EMULATORS}\nexport PATH=/usr/sbin"

    ended = built_elsewhere(root, setup, "--platform=linux/amd64,linux/arm64,linux/arm", ".")

    refused = f"{SOLVE}linux/arm64, linux/arm/v7 can't be run here, natively or emulated\n"
    assert (ended.status, refused in ended.err) == (1, True)
    assert "polyarch binfmt install arm64 arm\n" in ended.err
    assert "] RUN echo" not in ended.err


def test_what_is_cached_needs_no_emulator(root: Person, registry: RealRegistry) -> None:
    base = f"FROM {registry.host}/library/busybox"
    root.write("Dockerfile", f"{base}\nRUN echo one\n")
    words = ("--platform=linux/amd64,linux/arm64", ".")
    setup = f"{HIDE_EMULATORS}\nexport PATH=/usr/sbin"
    root.run("build", *words).check()

    built_elsewhere(root, setup, *words).check()
    for change in (["--no-cache"], ["--build-arg=x=1"]):
        root.write("Dockerfile", f"{base}\nARG x\nRUN echo one\n")
        ended = built_elsewhere(root, setup, *change, *words)
        assert "linux/arm64 can't be run here" in ended.err
        assert "] RUN echo" not in ended.err


def test_what_has_run_before_is_refused_when_it_is_not_cached(
    root: Person, registry: RealRegistry
) -> None:
    """The step is the same, and what it reads has changed: that is known before any step runs."""
    base = f"FROM {registry.host}/library/busybox"
    stages = f"{base} AS native\nRUN echo $x >/n\n{base}\nCOPY Dockerfile a /\nRUN cat /a\n"
    root.write("Dockerfile", stages + "COPY --from=native /n /\n")
    words = ("--platform=linux/arm64", ".")
    root.write("a", "1")
    root.run("build", *words).check()
    root.write("a", "2")

    ended = built_elsewhere(root, f"{HIDE_EMULATORS}\nexport PATH=/usr/sbin", *words)

    assert "linux/arm64 can't be run here" in ended.err
    assert "RUN cat /a\n#" not in ended.err


def test_those_who_tell_what_runs_agree(root: Person, registry: RealRegistry) -> None:
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN true\n")
    environ = {"PATH": "/usr/bin:/usr/sbin:/bin", "POLYARCH_QEMU_PATH": ""}
    who = replace(root, environ=environ)
    for setup in ("mkdir empty", f"{HIDE_EMULATORS}\nexport PATH=/usr/sbin"):
        inspected = elsewhere(who, setup, "inspect").check().out
        checks = json.loads(elsewhere(who, setup, "doctor", "--format=json").out)["checks"]
        shown = re.findall(r"linux/(\w+)", inspected.split("Platforms:")[1].splitlines()[0])
        healthy = [check["name"] for check in checks if check["status"] == "ok"]
        architectures = {name[6:] for name in healthy if name.startswith("linux/")}
        built = built_elsewhere(who, setup, "--platform=linux/arm64", "--no-cache", ".")

        assert set(shown) == architectures
        assert (built.status == 0) == ("arm64" in architectures)


def test_a_platform_that_runs_nothing_needs_no_emulator(
    root: Person, registry: RealRegistry
) -> None:
    base = f"FROM {registry.host}/library/busybox"
    root.write("Dockerfile", f"{base}\nCOPY Dockerfile /\n")
    setup = f"{HIDE_EMULATORS}\nexport PATH=/usr/sbin"

    built_elsewhere(root, setup, "--platform=linux/arm64,linux/arm", ".").check()


def test_the_runtime_that_is_asked_for_is_not_there(root: Person, registry: RealRegistry) -> None:
    base = f"FROM {registry.host}/library/busybox"
    root.write("Dockerfile", f"{base}\nRUN true\n")
    root.environ["POLYARCH_RUNTIME"] = "runc"

    ended = built_elsewhere(root, HIDE_RUNTIMES, ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(2, base, "RUN true", "")
        + f"{SOLVE}no container runtime works here (runc: not installed)\n"
        "hint: POLYARCH_RUNTIME=runc allows no other one; unset it, or try auto\n"
    )


def test_no_runtime_works(root: Person, registry: RealRegistry) -> None:
    base = f"FROM {registry.host}/library/busybox"
    root.write("Dockerfile", f"{base}\nRUN true\n")
    setup = f"{HIDE_RUNTIMES}\necho 0 > /proc/sys/user/max_ipc_namespaces"

    ended = built_elsewhere(root, setup, ".", unshare="-Urm")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(2, base, "RUN true", "")
        + f"{SOLVE}no container runtime works here (sandbox: the step's namespaces can't be made: "
        "the limit of namespaces is reached; crun: not installed; runc: not installed)\n"
        "hint: install the package runc, or crun; POLYARCH_RUNTIME=sandbox, crun or runc "
        "picks one and 'polyarch doctor' shows what the machine lacks\n"
    )


def test_an_unknown_runtime(root: Person, registry: RealRegistry) -> None:
    root.environ["POLYARCH_RUNTIME"] = "rkt"
    ended, _ = build(root, registry, "RUN true")

    assert ended.status == 1
    assert ended.complaint().endswith(
        "POLYARCH_RUNTIME=rkt: no such runtime\nhint: use auto, sandbox, crun, runc or chroot\n"
    )


def test_user_namespaces_are_forbidden(root: Person) -> None:
    """What needs none is built; a step says what forbids them, and what to do."""
    setup = "echo 0 > /proc/sys/user/max_user_namespaces\n"
    drop = 'set -- setpriv --bounding-set=-all --inh-caps=-all -- "$@"'
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    built_elsewhere(root, setup + drop, ".", unshare="-Urm").check()

    root.write("Dockerfile", 'FROM scratch\nCOPY Dockerfile /\nRUN ["/it"]\n')
    ended = built_elsewhere(root, setup + drop, ".", unshare="-Urm")

    assert ended.status == 1
    assert "the limit of namespaces is reached" in ended.complaint()
    assert "sysctl -w user.max_user_namespaces=15000" in ended.complaint()
