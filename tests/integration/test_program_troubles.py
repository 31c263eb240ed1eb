"""Programs that can't be started: what is wrong with them is said, whoever has tried to start them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyarch.emulation.probe import probe_program
from tests.support.machine.emulators import with_loader
from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

GLIBC = {"amd64": "/lib64/ld-linux-x86-64.so.2", "arm64": "/lib/ld-linux-aarch64.so.1"}
FOREIGN = (
    "/p is a program for linux/s390x, and this is linux/{}: take the one for this platform (the build "
    "arguments TARGETARCH and TARGETVARIANT name it), or run it in a stage FROM --platform=linux/s390x\n"
)


def give(who: Person, name: str, data: bytes) -> Path:
    path = who.write(name, "", 0o755)
    path.write_bytes(data)
    return path


def build(who: Person, registry: RealRegistry, step: str, *more: str, arch: str = "amd64") -> Ended:
    base = f"FROM {registry.host}/library/busybox"
    lines = (base, "COPY --chmod=755 p /p", *more, step)
    who.write("Dockerfile", "\n".join(lines) + "\n")
    return who.run("build", f"--platform=linux/{arch}", ".")


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_program_for_another_machine(who: Person, registry: RealRegistry, arch: str) -> None:
    give(who, "p", probe_program("s390x"))

    ended = build(who, registry, 'RUN ["/p"]', arch=arch)

    said = ended.complaint()
    assert (ended.status, "exit code: 1\n" in said) == (1, True)
    assert said.endswith("hint: " + FOREIGN.format(arch))
    before, _, _ = ended.err.partition("exec /p: exec format error")
    assert FOREIGN.format(arch) in before


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_program_for_another_machine_that_a_shell_starts(
    root: Person, registry: RealRegistry, arch: str
) -> None:
    give(root, "p", probe_program("s390x"))

    ended = build(root, registry, "RUN /p", arch=arch)

    assert ended.complaint().endswith("hint: " + FOREIGN.format(arch))


@pytest.mark.parametrize("step", ['RUN ["/p"]', "RUN /p", "RUN cd / && ./p"])
def test_a_loader_that_is_not_there(root: Person, registry: RealRegistry, step: str) -> None:
    loader = GLIBC["amd64"]
    give(root, "p", with_loader("amd64", loader))

    ended = build(root, registry, step)

    assert f"p needs the loader {loader}, which isn't there: link it" in ended.complaint()


@pytest.mark.parametrize("step", ['RUN ["/p"]', "RUN /p"])
def test_a_loader_that_the_emulator_does_not_find(
    who: Person, registry: RealRegistry, step: str
) -> None:
    loader = GLIBC["arm64"]
    give(who, "p", with_loader("arm64", loader))

    ended = build(who, registry, step, arch="arm64")

    before, _, _ = ended.err.partition(f"Could not open '{loader}'")
    assert f" /p needs the loader {loader}, which isn't there: link it" in before
    assert before.count("needs the loader") == 1
    assert f"needs the loader {loader}, which isn't there: link it" in ended.complaint()
    assert "exit code: 255\n" in ended.complaint()


def test_a_program_for_glibc_where_there_is_musl(root: Person, registry: RealRegistry) -> None:
    give(root, "p", with_loader("amd64", GLIBC["amd64"]))

    musl = "RUN mkdir -p /lib && touch /lib/ld-musl-x86_64.so.1"
    ended = build(root, registry, "RUN /p", musl)

    assert "it is made for glibc, and this image has musl: " in ended.complaint()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\r\necho hi\r\n", "/p has Windows line endings: the kernel looks for /bin/sh "),
        ("#!/bin/bash\necho hi\n", "/p is a script for /bin/bash, which isn't there: "),
        ("#!/bin/bash\n", "(the image has /bin/sh, /bin/ash)"),
        ("echo hi\n", "/p is neither a program nor a script with a first line #!: "),
        ("#!sh\n", "the first line of /p names no interpreter by its whole path: "),
        ("", "/p is empty: "),
        ("version https://git-lfs.github.com/spec/v1\n", "/p is a pointer of Git LFS"),
        ("\x7fELF\x02", "/p is a damaged program: "),
    ],
)
def test_a_script_that_can_not_be_started(
    root: Person, registry: RealRegistry, script: str, said: str
) -> None:
    give(root, "p", script.encode())

    ended = build(root, registry, 'RUN ["/p"]')

    assert ended.status == 1
    assert said in ended.complaint()


def test_a_script_of_a_program_for_another_machine(root: Person, registry: RealRegistry) -> None:
    give(root, "p", b"#!/q\n")
    give(root, "q", probe_program("s390x"))

    ended = build(root, registry, 'RUN ["/p"]', "COPY --chmod=755 q /q")

    assert "/q is a program for linux/s390x, and this is linux/amd64: " in ended.complaint()


def test_what_programs_say_themselves_stays(root: Person, registry: RealRegistry) -> None:
    give(root, "p", b"#!/bin/sh\necho /etc/passwd: syntax error; exit 3\n")

    ended = build(root, registry, "RUN /p")

    assert ended.complaint().endswith("exit code: 3\n")


def test_a_program_that_is_run(root: Person, registry: RealRegistry) -> None:
    give(root, "p", probe_program("s390x"))
    base = f"FROM {registry.host}/library/busybox\nCOPY --chmod=755 p /p\n"
    root.write("Dockerfile", base)
    root.run("build", "-t", f"{registry.host}/x/troubled", "--push", ".").check()

    ended = root.run("run", f"{registry.host}/x/troubled", "/p")

    assert ended.status == 126
    assert "hint: " + FOREIGN.format("amd64") in ended.err


def test_links_do_not_lead_out_of_the_root(root: Person, registry: RealRegistry) -> None:
    """The machine has what the link names, and the root has not."""
    assert os.path.exists("/usr/bin/qemu-s390x-static")
    give(root, "p", b"#!/usr/bin/qemu-s390x-static\n")

    ended = build(root, registry, 'RUN ["/p"]')

    assert "/p is a script for /usr/bin/qemu-s390x-static, which isn't there" in ended.complaint()


# --- what images start ---

WARNS = "ProgramOfAnotherPlatform: "


def build_image(
    who: Person, registry: RealRegistry, *lines: str, platform: str = "linux/amd64"
) -> Ended:
    base = f"FROM {registry.host}/library/busybox"
    text = "\n".join((lines[0], base, "COPY --chmod=755 p /p", *lines[1:]))
    who.write("Dockerfile", text + "\n")
    words = (f"--platform={platform}", "--output=type=oci,dest=image.tar", ".")
    return who.run("build", *words).check()


def test_an_entrypoint_for_another_machine_is_warned_of(
    who: Person, registry: RealRegistry
) -> None:
    give(who, "p", probe_program("amd64"))

    platforms = "linux/amd64,linux/arm64"
    ended = build_image(
        who, registry, "", 'ENTRYPOINT ["/p", "x"]', 'CMD ["y"]', platform=platforms
    )

    told = [line for line in ended.err.splitlines() if f"#1 WARN: {WARNS}" in line]
    assert len(told) == 1
    assert (
        "'/p x' doesn't start on linux/arm64: /p is a program for linux/amd64, and this is "
        "linux/arm64: take the one for this platform"
    ) in told[0]
    assert "(line 4)" in told[0]


def test_a_command_of_a_stage_below_is_looked_at(root: Person, registry: RealRegistry) -> None:
    give(root, "p", with_loader("amd64", GLIBC["amd64"]))

    more = ("ENV PATH=/:/bin", 'CMD ["p"]', f"FROM {registry.host}/library/busybox", "RUN true")
    ended = build_image(root, registry, "", *more)
    below = build_image(root, registry, "", *more[:2], "RUN true")

    assert WARNS not in ended.err
    assert f"/p needs the loader {GLIBC['amd64']}, which isn't there" in below.err


def test_what_starts_is_not_warned_of(root: Person, registry: RealRegistry) -> None:
    give(root, "p", probe_program("386"))

    for command in ('CMD ["/p"]', "CMD echo hi", 'ENTRYPOINT ["/not/there/yet"]', "USER 1"):
        assert WARNS not in build_image(root, registry, "", command).err


def test_the_warning_is_silenced_as_checks_are(root: Person, registry: RealRegistry) -> None:
    give(root, "p", probe_program("arm64"))
    above = "# check=skip=ProgramOfAnotherPlatform"

    warned = build_image(root, registry, "", 'CMD ["/p"]')
    whole = build_image(root, registry, above, "RUN true", 'CMD ["/p"]')
    line = build_image(root, registry, "", "RUN echo", above, 'CMD ["/p"]')

    assert [WARNS in each.err for each in (warned, whole, line)] == [True, False, False]
