"""`RUN --device`: what CDI describes gets into the step, by root and by ordinary users, and not into layers."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

FREE = "org.mobyproject.buildkit.device.autoallow"
NODE = {"path": "/dev/sub/mine", "hostPath": "/dev/zero"}


def describe(who: Person, **more: Any) -> None:
    """Describe `vendor.test/class=one`, and let the person's commands find it."""
    edits = {"env": ["FROM_DEVICE=yes"], "deviceNodes": [NODE], **more.pop("edits", {})}
    device = {"name": "one", "containerEdits": edits, **more}
    text = {"cdiVersion": "0.6.0", "kind": "vendor.test/class", "devices": [device]}
    path = who.write("../cdi/device.json", json.dumps(text))
    path.parent.chmod(0o755)
    who.environ["POLYARCH_CDI_DIRS"] = str(path.parent)


def dockerfile(who: Person, registry: RealRegistry, *lines: str) -> None:
    who.write("Dockerfile", "\n".join((f"FROM {registry.host}/library/busybox", *lines, "")))


@pytest.mark.parametrize("runtime", ["sandbox", "runc"])
def test_a_device_and_what_belongs_to_it(who: Person, registry: RealRegistry, runtime: str) -> None:
    who.environ["POLYARCH_RUNTIME"] = runtime
    who.write("shared", "shared by the device")
    mount = {"hostPath": str(who.work / "shared"), "containerPath": "/opt/it", "options": ["ro"]}
    describe(who, edits={"mounts": [mount]})
    dockerfile(
        who,
        registry,
        "RUN --device=vendor.test/class=one,required head -c 3 /dev/sub/mine | tr '\\0' x; "
        "echo ,$FROM_DEVICE,; cat /opt/it; test -c /dev/sub/mine",
        "RUN test ! -e /opt/it && test ! -e /dev/sub && echo gone$FROM_DEVICE",
    )

    ended = who.run("build", "--progress=plain", "--allow=device", ".").check()

    assert "xxx,yes,\n" in ended.err
    assert "shared by the device" in ended.err
    assert " gone\n" in ended.err


def test_root_makes_a_node_as_it_is_described(root: Person, registry: RealRegistry) -> None:
    node = {"path": "/dev/it", "hostPath": "/dev/null", "fileMode": 0o640, "uid": 3, "gid": 4}
    describe(root, edits={"deviceNodes": [node], "additionalGids": [77]})
    step = "RUN --device=vendor.test/class=one stat -c '%a %u %g' /dev/it; id -G"
    dockerfile(root, registry, step)

    ended = root.run("build", "--progress=plain", "--allow=device", ".").check()

    assert " 640 3 4\n" in ended.err
    assert " 0 77\n" in ended.err


def test_a_device_must_be_allowed(root: Person, registry: RealRegistry) -> None:
    describe(root)
    dockerfile(root, registry, "RUN --device=vendor.test/class true")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert ended.complaint().endswith(
        "ERROR: failed to build: failed to solve: device vendor.test/class=one is requested by the "
        "build but not allowed\n"
        "hint: add --allow device, or --allow device=vendor.test/class=one, to the command\n"
    )
    assert ">>> RUN --device=vendor.test/class true" in ended.err
    assert root.run("build", "--check", ".").status == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("vendor.test/class", ["--allow=device=vendor.test/class=one"]),
        ("mine", ["--allow=device=vendor.test/class=one,alias=mine"]),
    ],
)
def test_one_device_is_allowed(
    root: Person, registry: RealRegistry, asked: str, words: list[str]
) -> None:
    describe(root)
    dockerfile(root, registry, f"RUN --device={asked} test -c /dev/sub/mine")

    root.run("build", *words, ".").check()


def test_a_device_may_allow_itself(root: Person, registry: RealRegistry) -> None:
    describe(root, annotations={FREE: "true"})
    dockerfile(root, registry, "RUN --device=vendor.test/class=* test -c /dev/sub/mine")

    root.run("build", ".").check()
    shown = root.run("inspect").check().out

    assert "Devices:\n Name:                  vendor.test/class=one\n" in shown
    assert " Automatically allowed: true\n" in shown


def test_devices_that_are_not_there(root: Person, registry: RealRegistry) -> None:
    describe(root)
    dockerfile(root, registry, "RUN --device=vendor.test/other=x true")
    root.run("build", ".").check()
    dockerfile(root, registry, "RUN --device=vendor.test/other=x,required true")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert 'required device "vendor.test/other=x" is not registered' in ended.err
    assert "the devices of this machine are: vendor.test/class=one" in ended.err


def test_what_cannot_be_carried_out_is_named(root: Person, registry: RealRegistry) -> None:
    describe(root, edits={"hooks": [{"hookName": "createContainer", "path": "/bin/true"}]})
    dockerfile(root, registry, "RUN --device=vendor.test/class=one true")

    ended = root.run("build", "--allow=device", ".")

    assert ended.status == 1
    assert "vendor.test/class=one can't be given to a step: it needs hooks" in ended.err


# --- nodes that steps make ---


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_nodes_are_of_use_and_stay_in_the_layer(
    root: Person, registry: RealRegistry, platform: str
) -> None:
    """What debootstrap tries, and what it leaves; natively and emulated."""
    step = "RUN mknod /n c 1 3 && echo x >/n && mknod -m 600 /tty1 c 4 1 && mknod /b b 8 0 && mknod /p p"
    dockerfile(root, registry, step, "RUN test -c /n -a -c /tty1 -a -b /b -a -p /p && echo x >/n")

    words = ("--output=type=oci,dest=../image.tar", f"--platform={platform}")
    root.run("build", *words, ".").check()

    entries = last_layers(root.home / "image.tar", 2)[0]
    made = {each.name: (each.type, each.devmajor, each.devminor, each.mode) for each in entries}
    assert {name: made[name] for name in ("n", "tty1", "b", "p")} == {
        "n": (tarfile.CHRTYPE, 1, 3, 0o644),
        "tty1": (tarfile.CHRTYPE, 4, 1, 0o600),
        "b": (tarfile.BLKTYPE, 8, 0, 0o644),
        "p": (tarfile.FIFOTYPE, 0, 0, 0o644),
    }


def test_an_ordinary_user_hears_why_there_are_no_nodes(who: Person, registry: RealRegistry) -> None:
    dockerfile(who, registry, "RUN mknod /f p && mknod /n c 1 3 && exit 3")

    ended = who.run("build", ".")

    hint = "hint: nodes of devices can't be made and opened in this step: only builds by root have them"
    assert (hint in ended.err) == (who.user.uid != 0)


def last_layers(archive: Path, count: int) -> list[list[tarfile.TarInfo]]:
    """Return the entries of the last layers of the one image in an archive."""
    with tarfile.open(archive) as outer:

        def read(digest: str) -> bytes:
            file = outer.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            return file.read()

        index = outer.extractfile("index.json")
        assert index is not None
        document = json.loads(index.read())
        while "manifests" in document:
            document = json.loads(read(document["manifests"][0]["digest"]))
        layers = [read(each["digest"]) for each in document["layers"][-count:]]
    return [tarfile.open(fileobj=io.BytesIO(layer)).getmembers() for layer in layers]
