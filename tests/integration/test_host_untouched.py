"""Building for other CPUs leaves the machine as it is, and uses its handlers only where it must.

The machine's own binfmt_misc is not for tests to change. Where one with handlers is wanted, an enclave is
the machine: namespaces with a binfmt_misc of their own, in which root and ordinary users build.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.images.greetings import GREETINGS, build_greeter
from tests.support.machine.handlers import Enclave, enclave, handler_lines
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

_OTHER = b":other:M::#!other::/bin/cat:"
# A kernel before Linux 6.7, as far as the calls show: it refuses binfmt_misc in a user namespace.
_OLD_KERNEL = """
import errno, os
from polyarch import syscalls
real = syscalls.fsopen
def fsopen(name, *more, **options):
    if name == "binfmt_misc":
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return real(name, *more, **options)
syscalls.fsopen = fsopen
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Enclave]:
    """A machine that has handlers: for arm64 one that can't be used, and one that isn't QEMU's."""
    with enclave([_OTHER, *handler_lines(["arm64"], flags="")]) as inside:
        yield inside


@pytest.fixture(scope="module")
def emulating_machine() -> Iterator[Enclave]:
    """A machine that was given handlers for its containers."""
    with enclave([_OTHER, *handler_lines(["arm64"])]) as inside:
        yield inside


def on(machine: Enclave, who: Person) -> Person:
    return replace(who, prefix=(*machine.enter, "env", f"--chdir={who.work}"))


def with_old_kernel(who: Person, directory: Path) -> Person:
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(_OLD_KERNEL)
    path = f"{directory}:{who.environment()['PYTHONPATH']}"
    return replace(who, environ={**who.environ, "PYTHONPATH": path})


def binfmt_of_this_machine() -> dict[str, str]:
    """Return what is registered here, by file; and where it is mounted."""
    directory = Path("/proc/sys/fs/binfmt_misc")
    found = {each.name: each.read_text() for each in directory.iterdir() if each.name != "register"}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {**found, "mounts": "\n".join(line for line in mounts if "binfmt_misc" in line)}


def processes_of(who: Person) -> list[str]:
    """Return the processes that have this person's home in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(who.home).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


def greetings_of(who: Person, registry: RealRegistry, repository: str) -> dict[str, str]:
    greeter = build_greeter(who, registry.host, repository)
    return {
        platform: who.run("run", "--rm", f"{greeter.name}@{digest}").check().out
        for platform, digest in greeter.manifests.items()
    }


def test_this_machine_is_the_same_before_and_after(who: Person, registry: RealRegistry) -> None:
    before = binfmt_of_this_machine()

    greetings = greetings_of(who, registry, f"{who.user.name}/here")

    assert greetings == GREETINGS
    assert binfmt_of_this_machine() == before
    assert processes_of(who) == []


def test_a_machine_with_handlers_is_the_same_before_and_after(
    who: Person, registry: RealRegistry, machine: Enclave
) -> None:
    before = machine.registered()
    assert "other:interpreter /bin/cat" in before

    greetings = greetings_of(on(machine, who), registry, f"{who.user.name}/handlers")

    assert greetings == GREETINGS
    assert machine.registered() == before


def test_an_old_kernel_emulates_by_the_handlers_of_the_machine(
    who: Person, registry: RealRegistry, emulating_machine: Enclave, tmp_path: Path
) -> None:
    before = emulating_machine.registered()
    user = with_old_kernel(on(emulating_machine, who), tmp_path / "old")
    user.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN uname -m > /m\n")

    user.run("build", "--platform=linux/arm64", "-o", "out", ".").check()

    assert (user.work / "out/m").read_text() == "aarch64\n"
    assert emulating_machine.registered() == before


@pytest.mark.parametrize("handlers", ["unfit", "none"])
def test_an_old_kernel_without_fit_handlers_says_what_to_do(
    who: Person, registry: RealRegistry, machine: Enclave, tmp_path: Path, handlers: str
) -> None:
    user = with_old_kernel(on(machine, who), tmp_path / "old")
    user.write("Dockerfile", f"FROM {registry.host}/library/busybox\nRUN echo started\n")
    platform = "linux/arm64" if handlers == "unfit" else "linux/arm/v7"

    refused = user.run("build", f"--platform={platform}", ".")

    assert refused.status == 1
    kernel = os.uname().release
    assert (
        f"{platform} can't be emulated: this kernel ({kernel}) refuses a private binfmt_misc: "
        "Operation not permitted" in refused.err
    )
    assert "Linux 6.7 or newer" in refused.err
    assert "polyarch binfmt install" in refused.err
    assert " started" not in refused.err.replace("RUN echo started", "")
