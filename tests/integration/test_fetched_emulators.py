"""Emulators from an image, on a machine that has none: fetched once, verified, kept, and said of."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from polyarch.emulation.facts import Facts
from polyarch.emulation.kept import KEPT_SECONDS
from polyarch.emulation.qemu import find_emulator
from tests.support.images.emulatorimages import bare_machine, push_emulators, real_qemu
from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.machine.tinyprograms import MADE, maker
from tests.support.network.registry import Registry, serving
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

IMAGE = "tonistiigi/binfmt"
QEMUS = ("aarch64", "arm", "ppc64le", "riscv64", "s390x")
PLATFORMS = ("amd64", "386", "arm/v7", "arm64", "ppc64le", "s390x", "riscv64")
SEVEN = """
FROM scratch
ARG TARGETARCH
COPY $TARGETARCH /hello
RUN ["/hello"]
CMD ["/hello"]
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that has an image of emulators, and notes what it is asked for."""
    programs = {f"qemu-{name}": real_qemu(name) for name in QEMUS}
    with serving() as server:
        push_emulators(server.host, IMAGE, programs, tmp_path_factory.mktemp("image"))
        yield server


@pytest.fixture
def bare(tmp_path: Path) -> Callable[[Person, str], Person]:
    """Return what takes a person to a machine without emulators, where `image` is to be asked."""
    environ, prefix = bare_machine(tmp_path / "bare")

    def take(who: Person, image: str) -> Person:
        more = {**environ, "POLYARCH_QEMU_IMAGE": image}
        return replace(who, environ={**who.environ, **more}, prefix=prefix)

    return take


Bare = Callable[[Person, str], Person]


def ask_for_machine(who: Person, registry: RealRegistry) -> None:
    text = f"FROM {registry.host}/library/busybox AS s\nRUN mkdir /o && uname -m > /o/m\n"
    who.write("Dockerfile", text + "FROM scratch\nCOPY --from=s /o /\n")


def installed_version() -> str:
    found = find_emulator("arm64", Facts(None), {"PATH": "/usr/bin"})
    assert found is not None
    return found.shown_version


def asked(source: Registry) -> list[str]:
    """Return the requests for parts of images since the last call."""
    with source.lock:
        found = [line for line in source.requests if "/blobs/" in line or "/manifests/" in line]
        source.requests.clear()
    return found


def test_it_is_fetched_once_and_used(
    who: Person, bare: Bare, registry: RealRegistry, source: Registry
) -> None:
    there = bare(who, f"{source.host}/{IMAGE}")
    ask_for_machine(there, registry)
    asked(source)

    words = ("--platform=linux/arm64", "-o", "out", "--metadata-file=m.json", ".")
    arm64 = there.run("build", *words).check()
    first = asked(source)
    there.run("build", "--platform=linux/arm/v7", "-o", "out7", ".").check()

    assert (there.work / "out/m").read_text() == "aarch64\n"
    assert (there.work / "out7/m").read_text() == "armv7l\n"
    assert f"[internal] load emulators of {source.host}/{IMAGE}" in arm64.err
    assert len([line for line in first if line.startswith("GET") and "/blobs/" in line]) == 2
    assert asked(source) == []
    kept = list((there.root / "qemu").iterdir())
    assert sorted(os.listdir(kept[0])) == ["origin.json", *(f"qemu-{name}" for name in QEMUS)]
    assert len(kept) == 1
    told = json.loads((there.work / "m.json").read_text())["polyarch.emulators"]
    origin = f"{source.host}/{IMAGE}@sha256:{kept[0].name}"
    assert told == {"linux/arm64": f"QEMU {installed_version()} ({origin})"}


def state_of_this_machine() -> list[object]:
    """Return what of this machine a build for other CPUs could have changed."""
    handlers = Path("/proc/sys/fs/binfmt_misc")
    programs = ("/usr/bin", "/usr/libexec/qemu-binfmt", "/usr/lib/binfmt.d", "/etc/binfmt.d")
    return [
        {each.name: each.read_text() for each in handlers.iterdir() if each.name != "register"},
        Path("/proc/self/mounts").read_text(),
        [sorted(os.listdir(each)) for each in programs if os.path.isdir(each)],
    ]


def test_seven_platforms_where_nothing_is_installed(
    user_with_many_ids: User, bare: Bare, registry: RealRegistry, source: Registry, tmp_path: Path
) -> None:
    there = bare(person(user_with_many_ids, tmp_path / "home"), f"{source.host}/{IMAGE}")
    for platform in PLATFORMS:
        name = platform.partition("/")[0]
        there.write(f"context/{name}", "", 0o755).write_bytes(maker(name))
    there.write("context/Dockerfile", SEVEN)
    before = state_of_this_machine()
    platforms = f"--platform={','.join(f'linux/{each}' for each in PLATFORMS)}"
    name = f"{registry.host}/walk/seven"

    there.run("build", platforms, "-t", name, "--push", "context").check()
    there.run("build", platforms, "-o", "out", "context").check()
    told = {
        each: there.run("run", "--rm", f"--platform=linux/{each}", name).check().out
        for each in PLATFORMS
    }

    assert {each: text.rstrip() for each, text in told.items()} == {
        each: each.partition("/")[0] for each in PLATFORMS
    }
    for each in PLATFORMS:
        directory = there.work / "out" / f"linux_{each.replace('/', '_')}"
        assert {"hello", MADE} <= set(os.listdir(directory))
    assert state_of_this_machine() == before


def test_nobody_is_asked_where_there_is_an_emulator(
    root: Person, registry: RealRegistry, source: Registry
) -> None:
    who = replace(root, environ={"POLYARCH_QEMU_IMAGE": f"{source.host}/{IMAGE}"})
    ask_for_machine(who, registry)
    asked(source)

    who.run("build", "--platform=linux/arm64", ".").check()

    assert asked(source) == []
    assert not (who.root / "qemu").exists()


def test_two_builds_at_once_fetch_it_once(
    root: Person, bare: Bare, registry: RealRegistry, source: Registry
) -> None:
    there = bare(root, f"{source.host}/{IMAGE}")
    ask_for_machine(there, registry)
    asked(source)

    builds = [there.start("build", f"--platform=linux/{each}", ".") for each in ("arm64", "arm")]
    ended = [(build.communicate(timeout=100)[1].decode(), build.returncode) for build in builds]

    assert [status for _, status in ended] == [0, 0], ended
    fetched = [line for line in asked(source) if line.startswith("GET") and "/blobs/" in line]
    assert len(fetched) == len(set(fetched)) == 2


def test_versions_by_digest_lie_side_by_side(
    root: Person, bare: Bare, registry: RealRegistry, source: Registry, tmp_path: Path
) -> None:
    name = f"{source.host}/{IMAGE}"
    programs = {"qemu-aarch64": real_qemu("aarch64")}
    other = push_emulators(source.host, IMAGE, programs, tmp_path, "other")
    there = bare(root, name)
    pinned = {**there.environ, "POLYARCH_QEMU_IMAGE": f"{name}@{other}"}
    ask_for_machine(there, registry)

    for each in (there, replace(there, environ=pinned)):
        each.run("build", "--no-cache", "--platform=linux/arm64", ".").check()

    names = os.listdir(there.root / "qemu")
    assert (len(names), other.removeprefix("sha256:") in names) == (2, True)


def test_other_bytes_than_those_of_the_digest_are_refused(
    root: Person, bare: Bare, registry: RealRegistry, tmp_path: Path
) -> None:
    with serving() as server:
        push_emulators(server.host, IMAGE, {"qemu-aarch64": real_qemu("aarch64")}, tmp_path)
        largest = max(server.blobs, key=lambda key: len(server.blobs[key]))
        data = server.blobs[largest]
        server.blobs[largest] = data[:-1] + bytes([data[-1] ^ 1])
        there = bare(root, f"{server.host}/{IMAGE}")
        ask_for_machine(there, registry)

        ended = there.run("build", "--platform=linux/arm64", ".")

    assert ended.status == 1
    assert "no emulator is installed, and none can be fetched: " in ended.complaint()
    assert largest[1] in ended.complaint()
    assert not (there.root / "qemu").exists()


def test_a_layout_serves_where_there_is_no_network(
    who: Person, bare: Bare, registry: RealRegistry, source: Registry
) -> None:
    layout = f"oci-layout://{who.work}/layout"
    name = f"{source.host}/{IMAGE}"
    who.run("imagetools", "create", "-t", f"{layout}:latest", name).check()
    there = bare(who, layout)
    ask_for_machine(there, registry)
    asked(source)

    there.run("build", "--platform=linux/arm64", "-o", "out", ".").check()

    assert (there.work / "out/m").read_text() == "aarch64\n"
    assert asked(source) == []


def test_no_emulator_and_no_network(who: Person, bare: Bare, registry: RealRegistry) -> None:
    there = bare(who, "127.0.0.1:1/binfmt")
    ask_for_machine(there, registry)

    ended = there.run("build", "--platform=linux/arm64,linux/arm", ".")

    said = ended.complaint()
    assert ended.status == 1
    assert (
        "linux/arm64, linux/arm/v7 can't be run here, natively or emulated: no emulator is installed, and none "
        "can be fetched: "
    ) in said
    assert "127.0.0.1:1" in said
    assert "hint: install static QEMU emulators" in said
    assert "POLYARCH_QEMU_IMAGE" in said
    assert "oci-layout://DIRECTORY" in said
    assert "] RUN" not in ended.err


def test_an_image_without_emulators(root: Person, bare: Bare, registry: RealRegistry) -> None:
    there = bare(root, f"{registry.host}/library/busybox")
    ask_for_machine(there, registry)

    ended = there.run("build", "--platform=linux/arm64", ".")

    assert "library/busybox holds no emulator" in ended.complaint()


def test_an_image_without_the_one_that_is_needed(
    root: Person, bare: Bare, registry: RealRegistry, tmp_path: Path
) -> None:
    with serving() as server:
        push_emulators(server.host, IMAGE, {"qemu-arm": real_qemu("arm")}, tmp_path)
        there = bare(root, f"{server.host}/{IMAGE}")
        ask_for_machine(there, registry)
        there.run("build", "--platform=linux/arm", ".").check()

        ended = there.run("build", "--platform=linux/arm64", ".")

    assert "linux/arm64 can't be run here, natively or emulated: " in ended.complaint()
    assert f"{server.host}/{IMAGE} has no qemu-aarch64" in ended.complaint()


def test_run_fetches_it_too(
    who: Person, bare: Bare, registry: RealRegistry, source: Registry
) -> None:
    there = bare(who, f"{source.host}/{IMAGE}")

    words = ("--platform=linux/arm64", f"{registry.host}/library/busybox", "uname", "-m")
    ended = there.run("run", *words).check()

    assert ended.out == "aarch64\n"


def test_what_nobody_used_for_long_is_collected(
    root: Person, bare: Bare, registry: RealRegistry, source: Registry
) -> None:
    there = bare(root, f"{source.host}/{IMAGE}")
    ask_for_machine(there, registry)
    there.run("build", "--platform=linux/arm64", ".").check()
    (kept,) = (there.root / "qemu").iterdir()

    there.run("prune", "--all", "--force").check()
    stays = kept.exists()
    then = time.time() - KEPT_SECONDS - 60
    os.utime(kept, (then, then))
    asked(source)
    there.run("build", "--no-cache", "--platform=linux/arm64", ".").check()
    there.run("prune", "--all", "--force").check()
    used = kept.exists()
    os.utime(kept, (then, then))
    there.run("prune", "--all", "--force").check()

    assert (stays, used, asked(source), kept.exists()) == (True, True, [], False)


def test_a_builder_has_its_image(
    root: Person, bare: Bare, registry: RealRegistry, source: Registry
) -> None:
    there = bare(root, "")
    option = f"--driver-opt=qemu-image={source.host}/{IMAGE}"
    there.run("create", "--use", "--name=b", option).check()
    ask_for_machine(there, registry)

    there.run("build", "--platform=linux/arm64", "-o", "out", ".").check()

    (kept,) = (there.root / "qemu").iterdir()
    assert json.loads((kept / "origin.json").read_text())["images"] == [f"{source.host}/{IMAGE}"]
