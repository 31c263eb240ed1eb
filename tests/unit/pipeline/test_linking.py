"""Targets that are built on one another, on the same daemon: our own server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.buildkit.gateway import Ref, Solved
from polyarch.buildkit.work import Remote
from polyarch.errors import InputError
from polyarch.pipeline.apart import bake_on_nodes
from polyarch.pipeline.linking import linked_attributes
from polyarch.platforms import parse as parse_platform
from polyarch.progress import CancelToken, ignore_events
from polyarch.request.baked import BakeResult
from polyarch.request.make import make_request
from polyarch.request.values import BuildRequest, Output
from tests.support.fakes.engine import BASE, FakeEngine
from tests.support.images.layouts import read_archive
from tests.support.images.trees import plant


def bake(engine: FakeEngine, remote: Remote, requests: dict[str, BuildRequest]) -> BakeResult:
    node = BuilderNode(name="far0", endpoint=remote.address)
    return bake_on_nodes(
        engine,
        requests,
        builder=SavedBuilder(name="far", driver="remote", nodes=(node,)),
        sink=lambda _name: ignore_events,
        cancel=CancelToken(),
        keeps_going=True,
    )


def request(directory: Path, dockerfile: str, **options: Any) -> BuildRequest:
    context = plant(directory, {"Dockerfile": dockerfile, "file": directory.name})
    return make_request(context, **{"attestations": (), "outputs": (), **options})


def config(archive: Path) -> dict[str, Any]:
    """Return the config of a layout's only image."""
    layout = read_archive(archive.read_bytes())

    def blob(digest: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(layout[f"blobs/{digest.replace(':', '/')}"])
        return found

    entry = json.loads(layout["index.json"])["manifests"][0]
    return blob(blob(entry["digest"])["config"]["digest"])


def test_a_target_gets_the_files_and_the_config_of_what_it_is_built_on(
    engine: FakeEngine, remote: Remote, tmp_path: Path
) -> None:
    archive = tmp_path / "app.tar"
    requests = {
        "app": request(
            tmp_path / "app",
            "FROM middle\nCOPY file /own\n",
            build_contexts={"middle": "target:middle"},
            outputs=(Output(type="oci", destination=str(archive)),),
        ),
        "middle": request(
            tmp_path / "middle",
            "FROM below\nENV MIDDLE=1\n",
            build_contexts={"below": "target:base"},
        ),
        "base": request(tmp_path / "base", f"FROM {BASE}\nENV BELOW=1\nCOPY file /\n"),
    }

    baked = bake(engine, remote, requests)

    assert baked.errors == {}
    assert sorted(baked.results) == ["app", "base", "middle"]
    found = config(archive)
    assert {"BELOW=1", "MIDDLE=1"} <= set(found["config"]["Env"])
    assert len(found["rootfs"]["diff_ids"]) == 3


def test_what_is_built_on_a_failure_is_left_out(
    engine: FakeEngine, remote: Remote, tmp_path: Path
) -> None:
    requests = {
        "app": request(tmp_path / "app", "FROM below\n", build_contexts={"below": "target:base"}),
        "base": request(tmp_path / "base", f"FROM {BASE}\nRUN fail\n"),
        "other": request(tmp_path / "other", "FROM scratch\nCOPY file /\n"),
    }

    baked = bake(engine, remote, requests)

    assert (list(baked.results), list(baked.errors)) == (["other"], ["base"]), baked.errors


def test_what_another_node_builds_has_to_be_pushed(
    engine: FakeEngine, remote: Remote, tmp_path: Path
) -> None:
    riscv = (parse_platform("linux/riscv64"),)
    local = BuilderNode(name="far1", platforms=riscv)
    far = BuilderNode(name="far0", endpoint=remote.address)
    requests = {
        "app": request(tmp_path / "app", "FROM below\n", build_contexts={"below": "target:base"}),
        "base": request(tmp_path / "base", "FROM scratch\n", platforms=riscv),
    }

    with pytest.raises(InputError, match="app is built on base, which isn't pushed"):
        bake_on_nodes(
            engine,
            requests,
            builder=SavedBuilder(name="far", driver="remote", nodes=(far, local)),
            sink=lambda _name: ignore_events,
            cancel=CancelToken(),
        )


def test_a_result_of_several_platforms_is_a_context_for_each() -> None:
    refs = {name: Ref(id=name, definition=name.encode()) for name in ("linux/a", "linux/b")}
    several = Solved(
        message=b"", refs=refs, metadata={"containerimage.config/linux/b": b'{"os":"linux"}'}
    )
    told = {"context:x": "input:t", "context:y": "input:e", "context:z": "local:z", "filename": "D"}

    attributes, inputs = linked_attributes(told, {"t": several, "e": Solved(message=b"")})

    encoded = base64.b64encode(b'{"os":"linux"}').decode()
    assert attributes == {
        "context:x::linux/a": "input:t::linux/a",
        "context:x::linux/b": "input:t::linux/b",
        "context:y": "input:e",
        "context:z": "local:z",
        "filename": "D",
        "input-metadata:t::linux/b": json.dumps(
            {"containerimage.config": encoded}, separators=(",", ":")
        ),
    }
    assert inputs == {"t::linux/a": b"linux/a", "t::linux/b": b"linux/b", "e": b""}
