from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.dockerfile.expand.expand import expand
from polyarch.dockerfile.syntax.mount import Device, Mount, mount_from, parse_device, parse_mount
from polyarch.errors import DockerfileError
from polyarch.graph.op import Sharing


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/a", Mount(target="/a")),
        ("dst=/a,rw", Mount(target="/a", read_only=False)),
        ("from=x,src=s,destination=/a", Mount(from_name="x", source="s", target="/a")),
        ("type=cache,target=/a", Mount(type="cache", target="/a", read_only=False)),
        (
            "TYPE=Cache,target=/a,sharing=LOCKED,id=x,mode=0750,uid=1,gid=2,ro=true",
            Mount(
                type="cache", target="/a", sharing=Sharing.LOCKED, id="x", mode=0o750, uid=1, gid=2
            ),
        ),
        ("type=cache,target=/a,rw=0", Mount(type="cache", target="/a")),
        (
            "type=tmpfs,target=/a,size=1k",
            Mount(type="tmpfs", target="/a", size=1024, read_only=False),
        ),
        ("type=secret,id=s,required", Mount(type="secret", id="s", required=True)),
        ("type=secret,id=s,env=S", Mount(type="secret", id="s", env="S")),
        ("type=ssh,required=false", Mount(type="ssh")),
        ('"target=/a,b"', Mount(target="/a,b")),
    ],
)
def test_parse_mount(text: str, mount: Mount) -> None:
    assert parse_mount(text) == mount


def test_values_of_a_mount_are_expanded() -> None:
    def expand_value(value: str) -> str:
        return expand(value, {"DIR": "/a", "KIND": "cache"})

    mount = parse_mount("type=$KIND,target=${DIR}/b,id='x y'", expand_value)

    assert mount == Mount(type="cache", target="/a/b", id="x y", read_only=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "failed to parse csv mounts: EOF"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("typ=tmpfs", "unexpected key 'typ' in 'typ=tmpfs' (did you mean type?)"),
        ("type=tmp", 'unsupported mount type "tmp" (did you mean tmpfs?)'),
        ("type=cache,sharing=x", 'unsupported sharing value "x"'),
        ("required", "unexpected key 'required' for mount type 'bind'"),
        ("required=true,type=ssh", "unexpected key 'required' for mount type 'bind'"),
        ("env=A", "unexpected key 'env' for mount type 'bind'"),
        ("size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=x", "invalid value for size: x"),
        ("type=tmpfs,size=8192p", "invalid value for size: 8192p"),
        ("ro=x", "invalid value for ro: x"),
        ("type=ssh,mode=8", "invalid value 8 for mode"),
        ("type=ssh,uid=-1", "invalid value -1 for uid"),
        ("uid=1", 'uid not allowed for "bind" type mounts'),
        ("target=/a,sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
    ],
)
def test_parse_mount_refuses(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_mount(text)

    assert str(caught.value) == message


def test_mount_from() -> None:
    assert mount_from("type=cache,FROM=a,target=$x") == "a"
    assert mount_from("type=$x,nonsense") == ""
    assert mount_from("from=a$") == "a$"


def test_mount_from_refuses_variables() -> None:
    with pytest.raises(DockerfileError) as caught:
        mount_from("from=${a}")

    assert str(caught.value) == (
        "'from' doesn't support variable expansion, define alias stage instead"
    )


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("vendor.com/gpu", Device(name="vendor.com/gpu")),
        ("vendor.com/gpu=0,required", Device(name="vendor.com/gpu=0", required=True)),
        ("required=1,name=gpu", Device(name="gpu", required=True)),
        ("required", Device(name="", required=True)),
    ],
)
def test_parse_device(text: str, device: Device) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "failed to parse csv devices: EOF"),
        ("name=a,name=b", "device name already set to a"),
        ("a,b", "invalid field 'b' must be a key=value pair"),
        ("a,nam=b", "unexpected key 'nam' in 'nam=b' (did you mean name?)"),
        ("a,required=x", "invalid value for required: x"),
    ],
)
def test_parse_device_refuses(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_device(text)

    assert str(caught.value) == message


@given(st.lists(st.sampled_from(["type", "id", "from", "ro", "size", "=", ",", '"', "ssh", "1"])))
def test_mounts_raise_nothing_but_our_error(parts: list[str]) -> None:
    for read in (parse_mount, parse_device, mount_from):
        with contextlib.suppress(DockerfileError):
            read("".join(parts))
