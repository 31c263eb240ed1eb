"""What emulated programs see of their emulator: nothing."""

from __future__ import annotations

import pytest

from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


def written(who: Person, *lines: str) -> list[str]:
    """Build a Dockerfile whose last step writes /out/file; return its lines, sorted."""
    who.write("Dockerfile", "\n".join((*lines, "FROM scratch", "COPY --from=last /out /", "")))
    who.run("build", "--no-cache", "-o", "type=local,dest=out", ".").check()
    return sorted((who.work / "out/file").read_text().splitlines())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_environment_is_that_of_a_native_step(
    who: Person, registry: RealRegistry, platform: str
) -> None:
    base = f"FROM --platform={platform} {registry.host}/library/busybox AS last"
    step = 'RUN ["/bin/busybox", "sh", "-c", "mkdir /out; env > /out/file"]'

    # BuildKit's, without what it adds for traces.
    assert written(who, base, step) == ["HOME=/root", PATH, "PWD=/", "SHLVL=1"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_image_may_have_variables_of_the_emulator(
    root: Person, registry: RealRegistry, platform: str
) -> None:
    base = f"FROM --platform={platform} {registry.host}/library/busybox AS last"
    env = "ENV QEMU_CPU=max QEMU_CPU_X=1"

    found = written(root, base, env, "RUN mkdir /out; env > /out/file")

    assert {"QEMU_CPU=max", "QEMU_CPU_X=1"} <= set(found)


@pytest.mark.parametrize(
    ("platform", "other"), [("linux/arm64", "linux/arm/v7"), ("linux/arm/v7", "linux/arm64")]
)
def test_a_program_for_the_other_width_runs(
    who: Person, registry: RealRegistry, platform: str, other: str
) -> None:
    image = f"{registry.host}/library/busybox"

    found = written(
        who,
        f"FROM --platform={other} {image} AS other",
        f"FROM --platform={platform} {image} AS last",
        "COPY --from=other /bin/busybox /other/busybox",
        "RUN mkdir /out && /other/busybox uname -m > /out/file",
    )

    assert found == [{"linux/arm64": "aarch64", "linux/arm/v7": "armv7l"}[other]]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_ordinary_user_of_the_image_owns_their_process(
    root: Person, registry: RealRegistry, platform: str
) -> None:
    base = f"FROM --platform={platform} {registry.host}/library/busybox AS last"
    script = (
        "readlink /proc/self/exe; stat -Lc %u /proc/self /proc/self/fd/1; ls /proc/self/fd | wc -l"
    )

    found = written(root, base, "RUN mkdir -m 777 /out", "USER 1234", f"RUN ({script}) > /out/file")

    assert found == ["/bin/busybox", "1234", "1234", "4"]


def test_a_program_that_is_run_sees_nothing_either(root: Person, registry: RealRegistry) -> None:
    name = f"{registry.host}/library/busybox"

    ended = root.run("run", "--platform=linux/arm64", name, "env").check()

    assert {line.partition("=")[0] for line in ended.out.splitlines()} <= {
        "HOME",
        "PATH",
        "HOSTNAME",
    }
