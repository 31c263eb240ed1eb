"""Files of CDI: what is read of them, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.cdi.spec import Device, Edits, Mount, Node, is_kind, read_spec
from polyarch.errors import IntegrityError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = st.sampled_from(
    ["cdiVersion", "kind", "annotations", "devices", "containerEdits", "name", "env", "deviceNodes"]
)


def document(**more: Any) -> bytes:
    first = {"name": "one", "containerEdits": {"env": ["A=1"]}}
    fields = {"cdiVersion": "0.6.0", "kind": "vendor.com/class", "devices": [first], **more}
    return json.dumps(fields).encode()


def edited(**edits: Any) -> bytes:
    return document(devices=[{"name": "one", "containerEdits": edits}])


def test_devices_have_full_names_and_what_their_file_has_in_common() -> None:
    data = document(
        annotations={"a": "file", "b": "file"},
        containerEdits={"env": ["COMMON=1"]},
        devices=[
            {"name": "one", "annotations": {"b": "device"}, "containerEdits": {"env": ["A=1"]}},
            {"name": "two:2.0", "containerEdits": {"additionalGids": [5]}},
        ],
    )

    common = Edits(env=("COMMON=1",))
    assert read_spec("x.json", data) == (
        Device(
            name="vendor.com/class=one",
            edits=Edits(env=("A=1",)),
            common=common,
            origin="x.json",
            annotations={"a": "file", "b": "device"},
        ),
        Device(
            name="vendor.com/class=two:2.0",
            edits=Edits(groups=(5,)),
            common=common,
            origin="x.json",
            annotations={"a": "file", "b": "file"},
        ),
    )


def test_nodes_and_mounts() -> None:
    data = edited(
        deviceNodes=[
            {"path": "/dev/a"},
            {
                "path": "/dev/b",
                "hostPath": "/dev/x",
                "type": "b",
                "major": 7,
                "minor": 1,
                "fileMode": 0o640,
                "permissions": "rw",
                "uid": 0,
                "gid": 6,
            },
        ],
        mounts=[{"hostPath": "/h", "containerPath": "/c", "options": ["ro"], "type": "bind"}],
    )

    (device,) = read_spec("x.json", data)

    other = Node(
        path="/dev/b", source="/dev/x", kind="b", major=7, minor=1, mode=0o640, uid=0, gid=6
    )
    assert device.edits.nodes == (Node(path="/dev/a", source="/dev/a"), other)
    assert device.edits.mounts == (Mount(source="/h", target="/c", type="bind", options=("ro",)),)


def test_what_is_not_carried_out_is_kept_by_name() -> None:
    data = edited(hooks=[{"hookName": "createContainer", "path": "/x"}], intelRdt={"closID": "a"})

    assert read_spec("x.json", data)[0].edits.unknown == ("hooks", "intelRdt")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "the document is a list instead of an object"),
        (b"{", "it is no JSON"),
        (document(cdiVersion="2.0.0"), "cdiVersion '2.0.0' isn't known"),
        (document(kind="vendor"), "kind 'vendor' is not of the form vendor/class"),
        (document(kind="-a/b"), "kind '-a/b' is not"),
        (document(devices=[{"name": "a b", "containerEdits": {}}]), r"name 'a b' is no name of a"),
        (document(devices=[{"name": "a"}]), "containerEdits is missing"),
        (edited(env=["A"]), "env 'A' is not of the form NAME=value"),
        (edited(deviceNodes=[{"path": "dev/a"}]), "path 'dev/a' is no absolute path"),
        (edited(deviceNodes=[{"path": "/a", "type": "x"}]), "type 'x' is none of b, c, u and p"),
        (edited(mounts=[{"hostPath": "/a"}]), "containerPath is missing"),
        (edited(additionalGids=[-1]), "-1 instead of a number"),
    ],
)
def test_what_is_no_description(data: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        read_spec("x.json", data)


@given(data=st.binary() | JSON.map(json.dumps).map(str.encode))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with suppress(IntegrityError):
        read_spec("x.json", data)


@given(data=st.dictionaries(KEYS, JSON))
def test_no_fields_raise_anything_else(data: dict[str, Any]) -> None:
    with suppress(IntegrityError):
        read_spec("x.json", document(**data))
    with suppress(IntegrityError):
        read_spec("x.json", edited(**data))


def test_annotations_of_yaml_need_no_quotes() -> None:
    text = b"""
cdiVersion: "0.6.0"
kind: vendor.example/device
annotations:
  org.mobyproject.buildkit.device.autoallow: true
devices:
- name: one
  annotations: {number: 7, other: false}
  containerEdits:
    env: [A=1]
"""

    (device,) = read_spec("one.yaml", text)

    assert device.annotations == {
        "org.mobyproject.buildkit.device.autoallow": "true",
        "number": "7",
        "other": "false",
    }


def test_yaml_is_read_or_what_is_missing_is_named() -> None:
    data = b"cdiVersion: '0.6.0'\nkind: vendor.com/class\ndevices: []\n"

    if importlib.util.find_spec("yaml"):
        assert read_spec("x.yaml", data) == ()
    else:
        with pytest.raises(IntegrityError, match="it is YAML, which needs Python's yaml"):
            read_spec("x.yaml", data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a/b", True), ("a.b-c_d/e2", True), ("a", False), ("a/b/c", False), ("2/b", False)],
)
def test_kinds(text: str, expected: bool) -> None:
    assert is_kind(text) is expected
