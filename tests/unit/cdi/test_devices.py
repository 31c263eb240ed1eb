"""Which devices a step gets of those that it asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyarch.cdi.devices import (
    Devices,
    Grants,
    Wish,
    find_devices,
    parse_grants,
    spec_directories,
)
from polyarch.cdi.spec import Device, Edits
from polyarch.errors import InputError, NotFound

CLASS = "org.mobyproject.buildkit.device.class"
FREE = "org.mobyproject.buildkit.device.autoallow"


def device(name: str, **annotations: str) -> Device:
    return Device(name=name, edits=Edits(), annotations=annotations)


KNOWN = Devices(
    known={
        each.name: each
        for each in (
            device("v/a=one", **{CLASS: "small"}),
            device("v/a=three", **{CLASS: "small"}),
            device("v/a=two", **{FREE: "true"}),
            device("v/b=one"),
        )
    }
)


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ("v/a=one", ("v/a=one",)),
        ("v/a", ("v/a=one",)),
        ("v/a=*", ("v/a=one", "v/a=three", "v/a=two")),
        ("v/a=small", ("v/a=one", "v/a=three")),
        ("small", ("v/a=one", "v/a=three")),
        ("v/b=small", ()),
        ("v/c", ()),
        ("v/a=four", ()),
    ],
)
def test_forms_of_names(wish: str, found: tuple[str, ...]) -> None:
    assert KNOWN.find([Wish(name=wish)]) == found


def test_a_device_comes_once() -> None:
    assert KNOWN.find([Wish(name="v/a=two"), Wish(name="v/a=*")]) == (
        *("v/a=two", "v/a=one", "v/a=three"),
    )


@pytest.mark.parametrize("name", ["", "x", "v/", "v/a/b=c", "=c"])
def test_what_is_no_name_of_a_device(name: str) -> None:
    with pytest.raises(InputError, match=f'invalid device "{name}"'):
        KNOWN.find([Wish(name=name)])


def test_a_required_device_that_is_not_there() -> None:
    devices = Devices(known=KNOWN.known, troubles=("/etc/cdi/x.json can't be used: it is empty",))

    with pytest.raises(NotFound, match='required device "v/c=x" is not registered') as error:
        devices.find([Wish(name="v/c=x", required=True)])
    assert error.value.hint == (
        "the devices of this machine are: v/a=one, v/a=three, v/a=two, v/b=one; "
        "/etc/cdi/x.json can't be used: it is empty"
    )


@pytest.mark.parametrize(
    ("entitlements", "grants"),
    [
        ((), Grants()),
        (("network.host",), Grants()),
        (("device",), Grants(everything=True)),
        (("device=v/a=one", "device=v/b"), Grants(names=("v/a=one", "v/b"))),
        (("device=v/a=one,alias=mine",), Grants(aliases=(("mine", "v/a=one"),))),
    ],
)
def test_what_the_command_line_allows(entitlements: tuple[str, ...], grants: Grants) -> None:
    assert parse_grants(entitlements) == grants


@pytest.mark.parametrize(
    ("wishes", "allow", "given"),
    [
        (["v/a=two"], [], ("v/a=two",)),
        (["v/c"], [], ()),
        (["v/b"], ["device"], ("v/b=one",)),
        (["v/b"], ["device=v/b=one"], ("v/b=one",)),
        (["v/a=*"], ["device=v/a=small"], ("v/a=one", "v/a=three", "v/a=two")),
        (["mine"], ["device=v/b=one,alias=mine"], ("v/b=one",)),
        (["mine", "v/a=two"], ["device=v/b=one,alias=mine"], ("v/b=one", "v/a=two")),
        ([], [], ()),
    ],
)
def test_devices_that_are_given(
    wishes: list[str], allow: list[str], given: tuple[str, ...]
) -> None:
    assert KNOWN.grant([Wish(name=name) for name in wishes], parse_grants(allow)) == given


@pytest.mark.parametrize(
    ("wish", "allow", "message"),
    [
        ("v/b", [], "device v/b=one is requested by the build but not allowed"),
        ("v/b", ["device=v/a=one"], "device v/b=one is requested"),
        ("v/a=*", [], "devices v/a=one, v/a=three are requested by the build but not allowed"),
        ("mine", ["device=v/b=one"], 'invalid device "mine"'),
    ],
)
def test_devices_that_are_refused(wish: str, allow: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        KNOWN.grant([Wish(name=wish)], parse_grants(allow))


def test_getting_what_has_gone() -> None:
    with pytest.raises(NotFound, match="the device v/c=one is not registered"):
        KNOWN.get(["v/a=one", "v/c=one"])


def write(path: Path, *names: str, value: str = "1") -> None:
    path.parent.mkdir(exist_ok=True)
    devices = [{"name": name, "containerEdits": {"env": [f"A={value}"]}} for name in names]
    path.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "v/c", "devices": devices}))


def test_files_are_found_in_directories_and_later_directories_win(tmp_path: Path) -> None:
    write(tmp_path / "first" / "x.json", "b", "a")
    write(tmp_path / "second" / "y.json", "a", value="2")
    write(tmp_path / "second" / "y.txt", "c")

    found = find_devices(str(tmp_path / name) for name in ("first", "none", "second"))

    assert list(found.known) == ["v/c=a", "v/c=b"]
    assert found.known["v/c=a"].edits.env == ("A=2",)
    assert found.troubles == ()


def test_of_two_devices_of_one_name_neither_is_meant(tmp_path: Path) -> None:
    write(tmp_path / "x.json", "a", "b")
    write(tmp_path / "y.json", "a")

    found = find_devices([str(tmp_path)])

    assert list(found.known) == ["v/c=b"]
    assert found.troubles == (f"v/c=a is twice in {tmp_path}",)


def test_a_bad_file_is_told_of_and_left_out(tmp_path: Path) -> None:
    write(tmp_path / "x.json", "a")
    (tmp_path / "y.json").write_text("{}")
    (tmp_path / "z.json").mkdir()

    found = find_devices([str(tmp_path)])

    assert list(found.known) == ["v/c=a"]
    assert found.troubles[0] == f"{tmp_path}/y.json can't be used: cdiVersion is missing"
    assert found.troubles[1].startswith(f"{tmp_path}/z.json can't be used: ")


def test_where_descriptions_are() -> None:
    assert spec_directories({}) == ("/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi")
    assert spec_directories({"POLYARCH_CDI_DIRS": "/a:/b"}) == ("/a", "/b")
