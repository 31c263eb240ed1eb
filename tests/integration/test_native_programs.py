"""Emulated steps with native twins: the same layers as without, found out where not, and nothing left of them."""

from __future__ import annotations

import json
import os
import random
import re
import time

import pytest

from tests.support.images.baseimages import push_base
from tests.support.images.debianroots import make_debian_root
from tests.support.images.soundness import faults
from tests.support.machine.boxes import boxed, held_locks, mounts_below
from tests.support.machine.programs import Ended, Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

EPOCH = "1700000000"
NATIVELY = re.compile(r"[1-9]\d* programs? (?:could run|ran) natively")
STEPS = {
    "files": """
RUN mkdir -p /a/b && echo one > /a/b/c && cp /a/b/c /a/d && ln -s b/c /a/e && chmod 4755 /a/d
RUN rm /a/b/c && mv /a/d /a/f && mkdir /empty && chown -R 1:2 /a
""",
    "texts": """
RUN i=0; while [ $i -lt 30 ]; do echo "line $i" >> /list; i=$((i+1)); done; sort -r /list > /sorted
RUN sed -e s/line/row/ /sorted | grep 7 | tee /rows | wc -l > /count && sha256sum /rows > /sum
RUN uname -a | sed 's/#.*//' > /machine; uname -m >> /machine; cat /proc/cpuinfo > /cpu
""",
    "archives": """
COPY data /data
RUN tar cf /data.tar -C /data . && tar tf /data.tar > /names && rm -r /data
""",
    "environment": """
ENV A=1 B="two words"
RUN env | sort > /env; id > /id; pwd > /pwd; echo $0 "$@" > /name; cat /proc/self/cmdline > /line
USER nobody
WORKDIR /tmp
RUN touch mine; readlink /proc/self/exe > exe; (stat -Lc %u /proc/self; ls /proc/self/fd | wc -l) > owner
""",
    "binary": """
RUN cp /bin/busybox /busybox2 && /busybox2 sha256sum /bin/busybox > /sum && /busybox2 uname -m > /machine
RUN head -c 20 /bin/busybox > /header; sha256sum /proc/self/exe | cut -c 65- > /name
""",
}


DEBIAN = r"""
SHELL ["/bin/bash", "-c"]
RUN set | grep -v ^PPID > /set; declare -p BASH_VERSINFO HOSTTYPE MACHTYPE OSTYPE > /machine; ulimit -a > /u
RUN cd /usr/lib && tar czf /lib.tgz --sort=name --mtime=@0 -C / var && tar tf /lib.tgz > /list && xz -k /list && \
    find . -name '*.so*' | sort > /libraries && grep -c lib /libraries > /count && sed -i s/lib/LIB/ /libraries
RUN printf 'all: a b\na:\n\techo a > a\nb: a\n\tcp a b\n' > Makefile && make > /log && stat -c '%a %n' /bin/b* > /modes
RUN for i in {1..5}; do (exit 3) || echo $? $(uname -m) $(nproc --all) $(arch) >> /numbers; done
RUN install -D -m 4711 /bin/true /opt/true && /opt/true && md5sum /opt/true > /opt/sum && od -c /opt/true | head > /opt/od
"""


def write(who: Person, registry: RealRegistry, steps: str) -> None:
    who.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{steps}")
    for number in range(4):
        who.write(f"data/{number}", f"{number} " * 1000)


def build(who: Person, emulation: str, *words: str) -> Ended:
    words = ("--progress=plain", "--platform=linux/arm64,linux/arm/v7", *words)
    return who.run("build", *words, f"--emulation={emulation}", ".")


def digest(who: Person, emulation: str) -> str:
    """Build anew; return the digest of the image with all times set to one."""
    output = f"type=oci,dest={emulation}.tar,rewrite-timestamp=true"
    words = ("--no-cache", "-o", output, "--metadata-file", "metadata")
    ended = build(who, emulation, f"--build-arg=SOURCE_DATE_EPOCH={EPOCH}", *words).check()
    assert bool(NATIVELY.search(ended.err)) == (emulation == "auto"), ended.err
    assert "run again" not in ended.err
    return str(json.loads((who.work / "metadata").read_text())["containerimage.digest"])


@pytest.mark.parametrize("steps", STEPS)
def test_layers_are_the_same(root: Person, registry: RealRegistry, steps: str) -> None:
    write(root, registry, STEPS[steps])

    assert digest(root, "auto") == digest(root, "strict")


@pytest.mark.parametrize(
    ("user", "steps"), [("many ids", "texts"), ("one id", "archives")], indirect=["user"]
)
def test_layers_are_the_same_whoever_builds(
    who: Person, registry: RealRegistry, steps: str
) -> None:
    write(who, registry, STEPS[steps])

    assert digest(who, "auto") == digest(who, "strict")


@pytest.mark.parametrize("steps", STEPS)
def test_verify_finds_no_difference(root: Person, registry: RealRegistry, steps: str) -> None:
    write(root, registry, STEPS[steps])

    ended = build(root, "verify", "--no-cache").check()

    assert ended.err.count("emulated throughout") >= 2


@pytest.fixture(scope="session")
def debian(registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image of Debian's packages, glibc and all, for this machine and arm64."""
    directory = tmp_path_factory.mktemp("debian")
    for architecture in ("amd64", "arm64"):
        make_debian_root(directory / architecture, architecture)
    push_base(registry.host, "library/debian", ("amd64", "arm64"), directory)
    return f"{registry.host}/library/debian"


def test_debian_is_the_same_for_whoever_builds(who: Person, debian: str) -> None:
    who.write("Dockerfile", f"FROM {debian}\n{DEBIAN}")
    words = (
        "build",
        "--progress=plain",
        "--platform=linux/arm64",
        "--no-cache",
        "--emulation=verify",
        ".",
    )

    ended = who.run(*words, seconds=500).check()

    assert ended.err.count("files are the same both ways") >= 4, ended.err


def test_a_stage_with_programs_of_two_images(
    root: Person, debian: str, registry: RealRegistry
) -> None:
    lines = (
        f"FROM {registry.host}/library/busybox AS other",
        "RUN echo a > /a",
        f"FROM {debian}",
        "COPY --from=other /bin/busybox /a /",
        "RUN for i in 1 2 3; do /busybox sha256sum /a; done > /sums && uname -m > /machine",
    )
    root.write("Dockerfile", "\n".join(lines))
    words = ("build", "--progress=plain", "--platform=linux/arm64", "--no-cache", "-o", "out", ".")

    ended = root.run(*words).check()

    found = re.findall(r"(\d+) programs? ran natively", ended.err)
    assert int(found[-1]) >= 3, ended.err  # the shell, uname, and at least one of busybox
    assert (root.work / "out/machine").read_text() == "aarch64\n"


def test_a_program_that_copies_itself_is_found_out(who: Person, registry: RealRegistry) -> None:
    write(who, registry, "RUN cp /proc/self/exe /copy && head -c 20 /copy | tail -c 2 > /cpu\n")
    ended = build(who, "auto", "-o", "out").check()
    again = build(who, "auto", "--no-cache").check()

    found = "/copy is a program or a library of this machine"
    assert ended.err.count(f"run again without native programs: {found}") == 2
    assert (who.work / "out/linux_arm64/cpu").read_bytes() == b"\xb7\0"
    assert (who.work / "out/linux_arm_v7/cpu").read_bytes() == b"\x28\0"
    assert again.err.count(f"without native programs, as found earlier: {found}") == 2
    assert "run again" not in again.err


def test_what_a_script_hides_is_found_out(root: Person, debian: str) -> None:
    steps = (
        "RUN perl -MPOSIX -e 'print POSIX::tanh(0.3)' > /tanh 2> /dev/null || echo none > /tanh",
        "RUN mkdir /r && (chroot /r /bin/true 2> /dev/null || echo none > /went)",
    )
    root.write("Dockerfile", "\n".join((f"FROM {debian}", *steps)))
    words = ("build", "--progress=plain", "--platform=linux/arm64", "--no-cache")

    auto = root.run(*words, ".", seconds=200).check()
    verified = root.run(*words, "--emulation=verify", ".", seconds=200).check()

    assert auto.err.count("run again without native programs: a program needed") == len(steps)
    assert verified.err.count("not verified: a program needed") == len(steps)


def test_caches_of_a_step_that_is_run_again_begin_anew(
    root: Person, registry: RealRegistry
) -> None:
    step = "ARG TARGETARCH\nRUN --mount=type=cache,id=$TARGETARCH,target=/c echo x >> /c/x"
    write(root, registry, f"{step}; wc -l < /c/x > /lines; cp /proc/self/exe /copy\n")

    build(root, "auto", "-o", "out").check()

    assert (root.work / "out/linux_arm64/lines").read_text() == "1\n"


def test_verify_names_what_differs(root: Person, registry: RealRegistry) -> None:
    step = (
        "RUN cp /proc/self/exe /copy; echo same > /same; cat /proc/sys/kernel/random/uuid > /new\n"
    )
    write(root, registry, step)
    first = build(root, "verify")
    second = build(root, "verify")

    error = (
        "ERROR: failed to build: failed to solve: native programs made a difference:\n"
        f"[linux/arm64 2/2] {step.strip()}:\n  /copy\n[linux/arm/v7 2/2] {step.strip()}:\n  /copy\n"
    )
    assert first.status == 1
    assert sorted(first.err[first.err.index("ERROR: failed") :].splitlines()) == sorted(
        error.splitlines()
    )
    assert second.status == 0  # what the steps made strictly was kept


def test_failures_are_those_of_emulated_steps(who: Person, registry: RealRegistry) -> None:
    write(who, registry, "RUN echo tried; exit 7\n")

    ended = build(who, "auto")

    assert ended.status == 1
    assert "run again without native programs: it ended with status 7" in ended.err
    assert "did not complete successfully: exit code: 7" in ended.err


def test_an_unchanged_build_asks_for_nothing(root: Person, registry: RealRegistry) -> None:
    write(root, registry, "RUN echo a > /a\n")
    build(root, "strict").check()
    before = set(os.listdir(root.root / "snapshots"))
    build(root, "auto").check()

    assert set(os.listdir(root.root / "snapshots")) == before


def test_what_was_made_serves_the_next_build(root: Person, registry: RealRegistry) -> None:
    write(root, registry, "RUN echo a > /a\n")
    first = build(root, "auto").check()
    second = build(root, "auto", "--no-cache").check()
    sets = [each for each in os.listdir(root.root / "snapshots") if each.startswith("twins-")]
    shown = root.run("du", "--verbose").check().out
    root.run("prune", "-a", "-f").check()

    assert "extracting sha256:" in first.err.partition("RUN echo")[2]
    assert "extracting sha256:" not in second.err
    assert len(sets) == 2
    assert "native programs for linux/arm64 steps on" in shown
    assert [each for each in os.listdir(root.root / "snapshots") if "twins" in each] == []


def test_the_metadata_tells_what_was_saved(root: Person, registry: RealRegistry) -> None:
    write(root, registry, "RUN echo a > /a\n")
    for emulation in ("auto", "strict"):
        build(root, emulation, "--no-cache").check()
    build(root, "auto", "--no-cache", "--metadata-file=metadata").check()

    steps = json.loads((root.work / "metadata").read_text())["polyarch.emulated"]
    assert {each["platform"]: each["natives"] for each in steps} == {
        "linux/arm64": 1,
        "linux/arm/v7": 1,
    }
    assert all(each["saved_seconds"] for each in steps)
    assert all(each["cpu_seconds"] > 0 for each in steps)


@pytest.mark.parametrize("number", range(6))
def test_kills_leave_no_half_set(root: Person, registry: RealRegistry, number: int) -> None:
    write(
        root,
        registry,
        "RUN echo begun; i=0; while [ $i -lt 40 ]; do /bin/busybox true; i=$((i+1)); done\n",
    )
    words = ("build", "--progress=plain", "--platform=linux/arm64", ".")
    with boxed(root, *words) as box:
        box.wait_for("RUN echo" if number < 5 else "begun")
        time.sleep(random.Random(number).random() * number / 5)  # any moment is meant
        box.kill(number % 3)
        box.wait_until_empty()
    assert mounts_below(root.home) == []
    assert held_locks(root.root) == []
    assert faults(root) == [[], []]

    assert NATIVELY.search(root.run(*words, "--no-cache").check().err)


def test_another_runtime(root: Person, registry: RealRegistry) -> None:
    root.environ["POLYARCH_RUNTIME"] = "runc"
    write(root, registry, STEPS["texts"])

    assert digest(root, "auto") == digest(root, "strict")
