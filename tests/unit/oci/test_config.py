"""Configs of images: what is read of them, what is refused, what is written."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import DiffID, sha256
from polyarch.errors import IntegrityError
from polyarch.golang.json import compact
from polyarch.oci.config import (
    HealthcheckConfig,
    HistoryEntry,
    ImageConfig,
    RunConfig,
    parse_config,
)
from polyarch.platforms import Platform

WHOLE: dict[str, object] = {
    "architecture": "arm",
    "author": "me",
    "config": {
        "ArgsEscaped": True,
        "Cmd": ["-c", "x"],
        "Entrypoint": ["sh"],
        "Env": ["PATH=/bin", "A=1"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Healthcheck": {
            "Interval": 1,
            "Retries": 5,
            "StartInterval": 4,
            "StartPeriod": 3,
            "Test": ["CMD", "true"],
            "Timeout": 2,
        },
        "Hostname": "abc",
        "Labels": {"a": "b", "empty": ""},
        "OnBuild": ["RUN y"],
        "Shell": ["bash"],
        "StopSignal": "SIGINT",
        "StopTimeout": 3,
        "User": "1:2",
        "Volumes": {"/data": {}},
        "WorkingDir": "/w",
    },
    "created": "2020-01-01T00:00:00Z",
    "docker_version": "1.0",
    "history": [
        {"created": "2020-01-01T00:00:00Z", "created_by": "COPY a"},
        {"author": "me", "comment": "c", "created_by": "ENV A=1", "empty_layer": True},
    ],
    "os": "linux",
    "os.features": ["f"],
    "os.version": "1",
    "rootfs": {"type": "layers", "diff_ids": [sha256(b"layer")]},
    "variant": "v7",
}


def test_every_field_has_its_place() -> None:
    config = ImageConfig.from_json(WHOLE)

    assert config == ImageConfig(
        platform=Platform(
            os="linux", architecture="arm", variant="v7", os_version="1", os_features=("f",)
        ),
        run=RunConfig(
            user="1:2",
            exposed_ports=("80/tcp", "53/udp"),
            env=("PATH=/bin", "A=1"),
            entrypoint=("sh",),
            cmd=("-c", "x"),
            volumes=("/data",),
            working_dir="/w",
            labels={"a": "b", "empty": ""},
            stop_signal="SIGINT",
            args_escaped=True,
            healthcheck=HealthcheckConfig(
                test=("CMD", "true"),
                interval=1,
                timeout=2,
                start_period=3,
                start_interval=4,
                retries=5,
            ),
            on_build=("RUN y",),
            shell=("bash",),
            rest={"Hostname": "abc", "StopTimeout": 3},
        ),
        diff_ids=(DiffID(sha256(b"layer")),),
        history=(
            HistoryEntry(created="2020-01-01T00:00:00Z", created_by="COPY a"),
            HistoryEntry(created_by="ENV A=1", author="me", comment="c", empty_layer=True),
        ),
        created="2020-01-01T00:00:00Z",
        author="me",
        rest={"docker_version": "1.0"},
    )


def test_a_config_goes_in_and_comes_out() -> None:
    config = parse_config(json.dumps(WHOLE).encode())

    assert config.to_json() == WHOLE
    expected = json.dumps(WHOLE, sort_keys=True, separators=(",", ":")).encode()
    assert compact(config.to_json(), sort_keys=True) == expected


def test_what_says_nothing_is_as_good_as_none() -> None:
    run: dict[str, object] = {
        "Cmd": [],
        "Env": None,
        "User": "",
        "Volumes": {},
        "ArgsEscaped": False,
        "Labels": None,
        "Healthcheck": None,
        "Hostname": "",
    }
    empty = {"config": run, "author": "", "os.features": None, "rootfs": None, "history": None}

    for document in ({}, {"config": None}, empty):
        config = ImageConfig.from_json(document)
        assert config.to_json() == {
            "config": {},
            "created": None,
            "history": [],
            "rootfs": {"type": "layers", "diff_ids": []},
        }


def test_an_empty_health_check_stays() -> None:
    for check, written in (
        ({"Test": [], "Other": 1}, {}),
        ({"Test": ["NONE"], "Retries": 0}, {"Test": ["NONE"]}),
        ({"Interval": -1}, {"Interval": -1}),
    ):
        config = ImageConfig.from_json({"config": {"Healthcheck": check}})
        assert config.run.to_json() == {"Healthcheck": written}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "the document is no JSON: "),
        (b"[]", "the document is a list instead of an object"),
        (b'{"os": 1}', "os is a number, which it can't be"),
        (b'{"os.features": [1]}', "os.features[0] is a number instead of a text"),
        (b'{"config": []}', "config is a list, which it can't be"),
        (b'{"config": {"Env": "A=1"}}', "config.Env is a text, which it can't be"),
        (b'{"config": {"Cmd": [null]}}', "config.Cmd[0] is null instead of a text"),
        (b'{"config": {"Labels": {"a": 1}}}', "config.Labels.a is a number, which it can't be"),
        (
            b'{"config": {"ExposedPorts": {"80/tcp": 1}}}',
            "config.ExposedPorts.80/tcp is a number, which it can't be",
        ),
        (
            b'{"config": {"Healthcheck": {"Retries": true}}}',
            "config.Healthcheck.Retries is True instead of a number of 64 bits",
        ),
        (
            b'{"config": {"Healthcheck": {"Interval": %d}}}' % (1 << 63),
            f"config.Healthcheck.Interval is {1 << 63} instead of a number of 64 bits",
        ),
        (b'{"history": [1]}', "history[0] is a number instead of an object"),
        (
            b'{"history": [{}, {"empty_layer": 1}]}',
            "history[1].empty_layer is a number, which it can't be",
        ),
        (b'{"rootfs": {"diff_ids": {}}}', "rootfs.diff_ids is an object, which it can't be"),
        (b'{"rootfs": {"diff_ids": ["x"]}}', "rootfs.diff_ids[0]: "),
    ],
)
def test_what_no_config_can_have(document: bytes, message: str) -> None:
    told = f"the image config {sha256(document)} can't be read: {message}"
    with pytest.raises(IntegrityError, match=re.escape(told)):
        parse_config(document)


TEXTS = st.lists(st.text(max_size=3), max_size=3).map(tuple)
MAPS = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
# Keys of objects, which are sorted as they are written.
SETS = st.lists(st.text(max_size=3), max_size=3, unique=True).map(sorted).map(tuple)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
ENTRIES = st.builds(HistoryEntry, created_by=st.text(max_size=3), empty_layer=st.booleans())
CONFIGS = st.builds(
    ImageConfig,
    platform=st.builds(
        Platform, os=st.text(max_size=3), architecture=st.text(max_size=3), os_features=TEXTS
    ),
    run=st.builds(
        RunConfig,
        env=TEXTS,
        cmd=TEXTS,
        labels=MAPS,
        exposed_ports=SETS,
        volumes=SETS,
        healthcheck=st.none() | st.builds(HealthcheckConfig, test=TEXTS, interval=NUMBERS),
        rest=st.dictionaries(st.just("Domainname"), st.just("x")),
    ),
    history=st.lists(ENTRIES, max_size=3).map(tuple),
    author=st.text(max_size=3),
    rest=st.dictionaries(st.just("container"), st.just("x")),
)


@given(CONFIGS)
def test_what_is_written_is_read_as_it_was(config: ImageConfig) -> None:
    assert parse_config(compact(config.to_json(), sort_keys=True)) == config
