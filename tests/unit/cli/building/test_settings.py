"""How many steps run at once, how they are emulated, and what may be left out: as a builder's settings say."""

from __future__ import annotations

from base64 import b64encode

import pytest

from polyarch.builders.values import BuilderNode
from polyarch.cli.building.settings import (
    emulation_of,
    jobs_of,
    with_settings,
)
from polyarch.errors import InputError


def node(config: str = "", **options: str) -> BuilderNode:
    files = {"buildkitd.toml": b64encode(config.encode()).decode()}
    return BuilderNode(name="b0", driver_opts=options, files=files)


@pytest.mark.parametrize(
    ("config", "jobs"),
    [
        ("[worker.oci]\n  max-parallelism = 4\n", 4),
        ("[worker.oci]\nmax-parallelism = -1\n", 0),
        ("[worker.containerd]\nmax-parallelism = 4\n", 0),
        ("worker = 'max-parallelism'\n", 0),
        ("debug = true\n", 0),
        ("", 0),
    ],
)
def test_steps_at_once_by_the_file_of_buildkitd(config: str, jobs: int) -> None:
    assert jobs_of(node(config), {}) == jobs


def test_the_nearer_setting_holds() -> None:
    config = "worker.oci.max-parallelism = 4"

    assert jobs_of(node(config, jobs="3"), {}) == 3
    assert jobs_of(node(config, jobs="3"), {"POLYARCH_JOBS": "2"}) == 2
    assert jobs_of(node(config), {"POLYARCH_JOBS": "0"}) == 0


@pytest.mark.parametrize(
    ("chosen", "environ", "message"),
    [
        (node(jobs="many"), {}, "the driver's option jobs: strconv.ParseInt"),
        (node(), {"POLYARCH_JOBS": "many"}, "POLYARCH_JOBS: strconv.ParseInt"),
        (node("max-parallelism"), {}, "buildkitd.toml of the builder can't be read: "),
    ],
)
def test_settings_that_are_none(chosen: BuilderNode, environ: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        jobs_of(chosen, environ)

    assert str(caught.value).startswith(message)


def test_emulation_is_what_the_variable_says_else_the_builder() -> None:
    chosen = node(emulation="strict")

    assert emulation_of(node(), {}) == ""
    assert emulation_of(chosen, {}) == "strict"
    assert emulation_of(chosen, {"POLYARCH_EMULATION": "verify"}) == "verify"


@pytest.mark.parametrize(
    ("chosen", "environ", "message"),
    [
        (node(emulation="fast"), {}, "the driver's option emulation: there is no emulation"),
        (node(), {"POLYARCH_EMULATION": "wm"}, "POLYARCH_EMULATION: there is no emulation"),
    ],
)
def test_an_emulation_that_there_is_not(
    chosen: BuilderNode, environ: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        emulation_of(chosen, environ)

    assert str(caught.value).startswith(message)


def test_the_image_of_emulators() -> None:
    builders = (node(), node(**{"qemu-image": "example/qemu"}))
    environs: tuple[dict[str, str], ...] = ({}, {"POLYARCH_QEMU_IMAGE": "none"})

    found = [
        with_settings(builder, environ).get("POLYARCH_QEMU_IMAGE")
        for builder in builders
        for environ in environs
    ]

    assert found == [None, "none", "example/qemu", "none"]


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (node(), None),
        (node("proxyNetwork = true"), "1"),
        (node("proxyNetwork = false"), None),
        (node("[proxyNetwork]"), None),
        (BuilderNode(name="b0", flags=("--debug", "--proxy-network")), "1"),
    ],
)
def test_a_proxy_network_by_the_settings_of_buildkitd(
    chosen: BuilderNode, told: str | None
) -> None:
    assert with_settings(chosen, {}).get("POLYARCH_PROXY_NETWORK") == told
    assert with_settings(chosen, {"POLYARCH_PROXY_NETWORK": "0"})["POLYARCH_PROXY_NETWORK"] == "0"
