"""What `inspect` shows of the machine's devices."""

from __future__ import annotations

from polyarch.builders.saved import SavedBuilders
from polyarch.cdi.devices import Devices
from polyarch.cdi.spec import Device, Edits
from polyarch.cli.builders.commands import inspection
from polyarch.cli.builders.states import NodeState

FREE = "org.mobyproject.buildkit.device.autoallow"
ONE = Device(name="v/c=one", edits=Edits())
TWO = Device(name="v/c=two", edits=Edits(), annotations={FREE: "true"})


def shown(*devices: Device) -> str:
    known = {device.name: device for device in devices}
    builder = SavedBuilders({"HOME": "/no/where"}).get("default")
    return inspection(builder, {"default": NodeState()}, (), devices=Devices(known=known))


def test_devices_with_their_annotations() -> None:
    lines = shown(ONE, TWO).splitlines()

    assert lines[lines.index("Devices:") + 1 :] == [
        " Name:                  v/c=one",
        " Automatically allowed: false",
        " Name:                  v/c=two",
        " Automatically allowed: true",
        " Annotations:",
        f"  {FREE}: true",
    ]


def test_nothing_is_said_where_there_are_none() -> None:
    assert "Devices" not in shown()
