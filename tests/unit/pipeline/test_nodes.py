"""Which node of a builder builds for which platform."""

from __future__ import annotations

import pytest

from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.buildkit.nodes import RemoteState
from polyarch.errors import InputError, MachineError
from polyarch.pipeline.choosing import Part, _wanted, assign
from polyarch.pipeline.nodes import _tell_of_emulation, _with_gateway
from polyarch.platforms import parse, parse_list
from polyarch.progress import Event, StatusEvent
from polyarch.record import replace
from polyarch.request.make import make_request
from polyarch.request.values import BuildRequest

STATES = {
    "intel": RemoteState(platforms=tuple(parse_list(["linux/amd64,linux/386,linux/arm64"]))),
    "arm": RemoteState(platforms=tuple(parse_list(["linux/arm64,linux/arm/v7"]))),
    "fixed": RemoteState(platforms=tuple(parse_list(["linux/amd64,linux/s390x"]))),
    "here": RemoteState(platforms=(parse("linux/amd64"),)),
    "down": RemoteState(error="down can't be reached"),
}
ENDPOINTS = {"here": "local"}
PLATFORMS = {"fixed": ("linux/s390x",)}


def builder(*names: str) -> SavedBuilder:
    nodes = [
        BuilderNode(
            name=name,
            endpoint=ENDPOINTS.get(name, f"tcp://{name}:1"),
            platforms=tuple(map(parse, PLATFORMS.get(name, ()))),
        )
        for name in names
    ]
    return SavedBuilder(name="b", driver="remote", nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("names", "platforms", "chosen"),
    [
        (("intel", "arm"), "linux/arm64,linux/amd64", "intel:linux/amd64 arm:linux/arm64"),
        (("intel", "arm"), "linux/386,linux/arm/v7", "intel:linux/386 arm:linux/arm/v7"),
        (("intel",), "linux/arm64", "intel:linux/arm64!"),
        (("intel", "fixed"), "linux/s390x,linux/amd64", "intel:linux/amd64 fixed:linux/s390x"),
        (("fixed", "here"), "linux/amd64", "here:linux/amd64"),
        (("here", "arm"), "linux/arm64,linux/amd64", "here:linux/amd64 arm:linux/arm64"),
        (("down", "intel"), "linux/amd64", "intel:linux/amd64"),
        (("here",), "linux/riscv64", "here:linux/riscv64!"),
        # Alone it gets what it doesn't know, as steps may not be needed.
        (("arm",), "linux/riscv64,linux/arm64", "arm:linux/riscv64 arm:linux/arm64"),
    ],
)
def test_native_nodes_come_before_those_that_emulate(
    names: tuple[str, ...], platforms: str, chosen: str
) -> None:
    parts = assign(builder(*names), STATES, parse_list([platforms]))

    shown = [
        f"{part.node.name}:{each}{'!' if each in part.emulated else ''}"
        for part in parts
        for each in part.platforms
    ]
    assert " ".join(shown) == chosen


def test_a_platform_that_is_emulated_is_told_of() -> None:
    events: list[Event] = []

    _tell_of_emulation(assign(builder("intel"), STATES, parse_list(["linux/arm64"])), events.append)
    _tell_of_emulation(assign(builder("arm"), STATES, parse_list(["linux/arm64"])), events.append)

    told = [each.id for each in events if isinstance(each, StatusEvent)]
    assert told == ["linux/arm64 is emulated on intel: no node runs it natively"]


@pytest.mark.parametrize(
    ("platforms", "names"),
    [
        ((), "fixed here"),
        (("linux/s390x",), "fixed"),
        (("linux/s390x", "linux/amd64"), "fixed here"),
    ],
)
def test_only_nodes_that_may_be_needed_are_looked_at(
    platforms: tuple[str, ...], names: str
) -> None:
    wanted = _wanted(builder("fixed", "here"), parse_list(platforms))

    assert " ".join(node.name for node in wanted.nodes) == names


def test_a_platform_that_no_node_has() -> None:
    with pytest.raises(MachineError) as caught:
        assign(builder("intel", "down"), STATES, parse_list(["linux/riscv64"]))

    assert str(caught.value) == (
        "no node of builder b builds for linux/riscv64: down can't be reached"
    )


GATEWAY = {"org.mobyproject.buildkit.worker.moby.host-gateway-ip": "172.17.0.1"}


def asking(*hosts: str) -> BuildRequest:
    return replace(make_request("."), add_hosts=hosts)


def test_an_engine_tells_where_its_machine_is() -> None:
    part = Part(node=BuilderNode(name="e", endpoint="e"), platforms=(), labels=GATEWAY)
    asked = asking("a=host-gateway", "b:host-gateway", "c=1.2.3.4")

    settled = _with_gateway(asked, part, "docker")

    assert settled.add_hosts == ("a=172.17.0.1", "b:172.17.0.1", "c=1.2.3.4")


def test_other_daemons_do_not_tell_where_their_machine_is() -> None:
    part = Part(node=BuilderNode(name="n", endpoint="tcp://n:1"), platforms=())
    message = "^unable to derive the IP value for host-gateway: host-gateway is not supported by the remote driver$"
    with pytest.raises(InputError, match=message):
        _with_gateway(asking("a=host-gateway"), part, "remote")


def test_this_machine_finds_itself() -> None:
    part = Part(node=BuilderNode(name="here", endpoint="local"), platforms=())
    asked = asking("a=host-gateway")

    assert _with_gateway(asked, part, "remote") is asked
