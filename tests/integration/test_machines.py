"""Steps in virtual machines: real ones, by qemu-system, with Debian's kernels.

A start takes half a minute where the CPU is emulated, too, so that a test does much with one machine.
"""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.images.soundness import faults
from tests.support.machine.boxes import boxed, held_locks, mounts_below
from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry
from tools.debian import fetch_kernel, packages_directory

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root, pytest.mark.slow]

DOCKERFILE = """
FROM {base}
ENV PATH=/usr/bin:/bin COLOR=blue
RUN id && echo told >&2 && [ "$COLOR" = blue ] && [ "$(pwd)" = / ] && [ ! -e /etc/resolv.conf.machine ]
RUN mkdir -p /a/b /c && echo one > /a/b/one && ln /a/b/one /a/b/same && ln -s b /a/link && mknod /a/pipe p
RUN echo two > /a/b/one && chown 5:6 /a/b/one && chmod 4711 /a/b/one && rm -r /c && touch -t 200001010000 /a/b
RUN rm -r /a/b && mkdir /a/b && echo new > /a/b/new && rm /etc/group && chmod 700 /tmp
RUN --mount=type=secret,id=word,required --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t \\
    --mount=type=bind,target=/context \\
    cat /run/secrets/word | sha256sum > /digest && cp /context/Dockerfile /t/copy && sha256sum < /t/copy > /context.sum \\
    && echo kept > /cache/file && head -c 3000000 /dev/zero > /large
RUN --mount=type=cache,target=/cache [ "$(cat /cache/file)" = kept ]
WORKDIR /made/for/it
USER 1234:99
RUN ["/bin/busybox", "sh", "-c", "id -u > /tmp/../made/none; id -u; id -g; exit 0"]
USER root
RUN --network=none <<EOF
ls /sys/class/net > /interfaces
EOF
"""


def digest(person: Person, name: str, *flags: str) -> str:
    """Build into the store; return the digest of the result."""
    settings = ("--secret", "id=word,src=word", "--no-cache", "--metadata-file", "told.json")
    output = ("-o", f"type=oci,dest={name}.tar,rewrite-timestamp=true")
    person.run("build", *settings, *output, *flags, ".", seconds=400).check()
    told = json.loads((person.work / "told.json").read_text())
    return str(told["containerimage.digest"])


@pytest.mark.parametrize("architecture", ["arm64"])
def test_a_step_in_a_machine_makes_the_same_layer(
    root: Person, registry: RealRegistry, architecture: str
) -> None:
    kernel = fetch_kernel(packages_directory(), architecture)
    root.environ["POLYARCH_VM_KERNEL"] = f"{architecture}={kernel}"
    root.environ["POLYARCH_VM_MEMORY"] = "1024"
    root.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    base = f"--platform=linux/{architecture} {registry.host}/library/busybox"
    root.write("Dockerfile", DOCKERFILE.format(base=base))
    root.write("word", "it is secret")

    expected = digest(root, "usual", "--emulation=strict")

    assert digest(root, "machine", "--emulation=vm", "--progress=plain") == expected


def name_of(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_machine_ends_with_the_build(
    root: Person, registry: RealRegistry, how: signal.Signals
) -> None:
    # A machine that runs this never gets ready.
    kernel = root.write("vmlinuz", "\0" * 4096)
    root.environ["POLYARCH_VM_KERNEL"] = f"arm64={kernel}"
    base = f"--platform=linux/arm64 {registry.host}/library/busybox"
    root.write("Dockerfile", f"FROM {base}\nRUN id\n")
    with boxed(root, "build", "--no-cache", "--emulation=vm", ".") as box:
        while not any(name_of(pid).startswith("qemu-system") for pid in box.processes()):
            assert box.child.poll() is None
        box.child.send_signal(how)
        box.wait_until_empty()
    assert mounts_below(root.home) == []
    assert held_locks(root.root) == []
    assert faults(root) == [[], []]


def test_with_one_id_there_is_no_machine(
    user_with_one_id: User, tmp_path: Path, registry: RealRegistry
) -> None:
    who = person(user_with_one_id, tmp_path / "home")
    base = f"--platform=linux/arm64 {registry.host}/library/busybox"
    who.write("Dockerfile", f"FROM {base}\nRUN id\n")

    ended = who.run("build", "--no-cache", "--emulation=vm", ".")

    assert "steps in virtual machines need more than one user id" in ended.err
