"""Devices of CDI as part of a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.cdi.devices import Devices
from polyarch.cdi.spec import Device, Edits, Mount, Node
from polyarch.errors import MachineError, NotFound
from polyarch.runtime.step import Bind, DeviceNode, Step
from polyarch.worker.devices import with_devices

STEP = Step(argv=("true",), rootfs="/r", env=("A=1", "B=1"), uid=5, gid=6, groups=(6,))


def given(*edits: Edits, common: Edits | None = None) -> Step:
    found = [
        Device(name=f"v/c={number}", edits=each, common=common or Edits(), origin="/x.json")
        for number, each in enumerate(edits)
    ]
    known = {device.name: device for device in found}
    return with_devices(STEP, tuple(known), Devices(known=known))


def test_variables_stand_above_the_steps_own() -> None:
    step = given(Edits(env=("A=2", "C=2")), Edits(env=("C=3",)))

    assert step.env == ("A=2", "B=1", "C=3")


def test_groups_are_added_once() -> None:
    assert given(Edits(groups=(7, 6)), Edits(groups=(7,))).groups == (6, 7)


def test_what_devices_have_in_common_comes_once(tmp_path: Path) -> None:
    mount = Mount(source=str(tmp_path), target="/t", options=("ro", "rbind", "nosuid"))

    step = given(Edits(), Edits(), common=Edits(mounts=(mount,)))

    bind = Bind(source=str(tmp_path), target="/t", read_only=True, flags=("nosuid",))
    assert step.mounts == (bind,)


def test_a_node_is_completed_by_what_is_there() -> None:
    step = given(Edits(nodes=(Node(path="/dev/mine", source="/dev/null"),)))

    assert step.devices == (
        DeviceNode(path="/dev/mine", source="/dev/null", kind="c", major=1, minor=3, uid=5, gid=6),
    )


def test_a_node_that_is_described_in_full() -> None:
    node = Node(path="/dev/a", source="/no", kind="b", major=7, minor=1, mode=0o600, uid=0, gid=0)

    assert given(Edits(nodes=(node,))).devices == (
        DeviceNode(path="/dev/a", source="/no", kind="b", major=7, minor=1, mode=0o600),
    )


@pytest.mark.parametrize(
    ("edits", "kind", "message"),
    [
        (Edits(unknown=("hooks",)), MachineError, "v/c=0 can't be given to a step: it needs hooks"),
        (
            Edits(nodes=(Node(path="/a", source="/no/a"),)),
            NotFound,
            "/no/a, a device, is not there",
        ),
        (Edits(nodes=(Node(path="/a", source="/"),)), MachineError, "/ is no device"),
        (Edits(mounts=(Mount(source="/no/a", target="/a"),)), NotFound, "/no/a, which a device"),
        (
            Edits(mounts=(Mount(source="x", target="/a", type="tmpfs"),)),
            MachineError,
            "a mount of type tmpfs at /a",
        ),
    ],
)
def test_what_a_step_cannot_be_given(edits: Edits, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        given(edits)
