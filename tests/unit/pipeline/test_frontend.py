"""Dockerfiles that are read here for a daemon: our own server, which is given graphs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.buildkit.gateway import Ref, Solved
from polyarch.buildkit.work import Asked, Remote
from polyarch.errors import DockerfileError, InputError
from polyarch.pipeline.frontend import is_read_here, own_frontend
from polyarch.pipeline.nodes import ask_on_nodes, build_on_nodes
from polyarch.platforms import host, parse_list
from polyarch.progress import CancelToken, ignore_events
from polyarch.record import replace
from polyarch.request.make import make_request
from polyarch.request.values import BuildRequest, Output
from tests.support.fakes.engine import BASE, FakeEngine
from tests.support.images.layouts import read_archive
from tests.support.images.trees import plant

HERE = {"POLYARCH_FRONTEND": "here"}


@pytest.fixture
def builder(remote: Remote) -> SavedBuilder:
    return builder_of(remote)


def builder_of(remote: Remote) -> SavedBuilder:
    node = BuilderNode(name="far0", endpoint=remote.address)
    return SavedBuilder(name="far", driver="remote", nodes=(node,))


def build(engine: FakeEngine, builder: SavedBuilder, request: BuildRequest) -> None:
    here = replace(engine, environ={**engine.environ, **HERE})
    build_on_nodes(here, builder, request, sink=ignore_events, cancel=CancelToken())


def request(context: Path, out: Path, type_: str = "local", **options: Any) -> BuildRequest:
    outputs = (Output(type=type_, destination=str(out)),)
    return make_request(context, attestations=(), outputs=outputs, **options)


class Told:
    """A gateway that builds nothing, and keeps what it was told."""

    def __init__(self) -> None:
        self.definitions: list[bytes] = []

    async def known(self) -> frozenset[str]:
        return frozenset({"mergeop"})

    async def build(self, definition: bytes) -> Ref:
        self.definitions.append(definition)
        return Ref(id=str(len(self.definitions)), definition=b"")


def told(engine: FakeEngine, request: BuildRequest) -> tuple[Told, Solved, set[str]]:
    """Return what a daemon is given of a request, what is said of it, and which directories it may read."""
    gateway: Any = Told()
    asked = Asked(frontend="", attributes={})
    with own_frontend(engine, request, host(), ignore_events, CancelToken()) as frontend:
        solved = asyncio.run(frontend.steer(gateway, asked))
        return gateway, solved, set(frontend.directories())


def test_only_what_is_read_of_a_context_and_not_ignored(engine: FakeEngine, tmp_path: Path) -> None:
    context = plant(
        tmp_path / "context",
        {
            "Dockerfile": "FROM scratch\nCOPY ./kept/ /all/\nCOPY --from=more . /more/\n",
            ".dockerignore": "**/*.log\n",
        },
    )
    more = plant(tmp_path / "more", {".dockerignore": "b\n"})
    unread = {"more": str(more), "unread": str(tmp_path)}

    gateway, _, directories = told(
        engine, request(context, tmp_path / "out", build_contexts=unread)
    )

    (definition,) = gateway.definitions
    assert directories == {"context", "more"}
    assert b'["**/*.log"]' in definition
    assert b'["kept"]' in definition
    assert b'["b"]' in definition
    assert definition.count(b"local.followpaths") == 1


def test_what_is_said_of_results(engine: FakeEngine, tmp_path: Path) -> None:
    context = plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\nLABEL a=b\n"})
    platforms = parse_list(["linux/arm64", "linux/amd64"])
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}

    _, one, _ = told(engine, request(context, tmp_path / "out", build_args=epoch))
    _, two, _ = told(engine, request(context, tmp_path / "out", platforms=platforms))

    assert set(one.metadata) == {
        "containerimage.config",
        "containerimage.base.config",
        "refs.platforms",
        "source.date.epoch",
    }
    assert one.metadata["source.date.epoch"] == b"1700000000"
    assert set(one.refs) == {""}
    assert set(two.refs) == {"linux/arm64", "linux/amd64"}
    assert json.loads(two.metadata["refs.platforms"])["Platforms"][0] == {
        "ID": "linux/arm64",
        "Platform": {"architecture": "arm64", "os": "linux"},
    }
    assert "created" not in json.loads(one.metadata["containerimage.config"])


def test_all_platforms_with_their_configs(
    engine: FakeEngine, builder: SavedBuilder, tmp_path: Path
) -> None:
    text = "FROM scratch\nARG TARGETARCH\nLABEL of=$TARGETARCH\nCOPY file /\n"
    context = plant(tmp_path / "context", {"Dockerfile": text, "file": "x"})
    archive = tmp_path / "image.tar"
    platforms = parse_list(["linux/arm/v7", "linux/amd64"])

    build(engine, builder, request(context, archive, "oci", platforms=platforms))

    labels = {
        config["architecture"]: config["config"]["Labels"]["of"] for config in configs(archive)
    }
    assert labels == {"arm": "arm", "amd64": "amd64"}


def configs(archive: Path) -> list[dict[str, Any]]:
    """Return the configs of the images of an archive."""
    found = []
    for name, data in read_archive(archive.read_bytes()).items():
        if name.startswith("blobs/") and data.startswith(b"{"):
            told = json.loads(data)
            if "rootfs" in told:
                found.append(told)
    return found


def test_a_config_goes_on_that_of_the_base(
    engine: FakeEngine, builder: SavedBuilder, tmp_path: Path
) -> None:
    context = plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\nWORKDIR /w\nRUN prepare\n"})
    archive = tmp_path / "image.tar"

    build(engine, builder, request(context, archive, "oci"))

    (config,) = configs(archive)
    assert config["config"]["WorkingDir"] == "/w"
    assert len(config["rootfs"]["diff_ids"]) == len(
        [each for each in config["history"] if not each.get("empty_layer")]
    )
    assert config["created"]


def test_a_fault_of_the_dockerfile_is_told_with_its_place(
    engine: FakeEngine, builder: SavedBuilder, tmp_path: Path
) -> None:
    context = plant(tmp_path / "context", {"Dockerfile": "FROM scratch\nCOPPY a /\n"})

    with pytest.raises(DockerfileError) as caught:
        build(engine, builder, request(context, tmp_path / "out"))

    assert caught.value.place is not None
    assert caught.value.place.line == 2


def test_questions_are_for_this_machine(
    engine: FakeEngine, builder: SavedBuilder, tmp_path: Path
) -> None:
    context = plant(tmp_path / "context", {"Dockerfile": "FROM scratch\n"})
    here = replace(engine, environ={**engine.environ, **HERE})
    asked = request(context, tmp_path / "out")

    answer = ask_on_nodes(here, builder, asked, "outline", sink=ignore_events, cancel=CancelToken())

    assert answer is None


def test_who_reads() -> None:
    assert is_read_here(HERE)
    assert not is_read_here({})
    assert not is_read_here({"POLYARCH_FRONTEND": "builder"})
    with pytest.raises(InputError, match="POLYARCH_FRONTEND=there"):
        is_read_here({"POLYARCH_FRONTEND": "there"})
