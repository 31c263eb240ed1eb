"""The whole path of a build, gone by anybody: steps run nothing, all else is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polyarch.digest import Digest
from polyarch.errors import NotFound, PolyarchError, StepFailed
from polyarch.graph.location import Location
from polyarch.pipeline.build import build_on
from polyarch.progress import Event, StepEvent, WarningEvent
from polyarch.request.make import make_request
from polyarch.request.result import BuildResult
from polyarch.request.values import Output
from tests.support.fakes.engine import BASE, FakeEngine
from tests.support.images.layouts import Found, read_archive, validate
from tests.support.images.trees import plant

TWO = ("linux/amd64", "linux/arm64")
DOCKERFILE = f"""\
FROM --platform=$BUILDPLATFORM {BASE} AS tools
RUN prepare
FROM {BASE}
COPY --from=tools /ran/prepare /tools
COPY src/a /app/
RUN compile
ENV KIND=app
CMD ["/app/a"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return plant(tmp_path / "context", {"Dockerfile": DOCKERFILE, "src/a": "text a"})


def build(engine: FakeEngine, context: Path, **options: Any) -> BuildResult:
    return build_on(engine, make_request(context, **{"attestations": (), **options}))


def document(engine: FakeEngine, digest: Digest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.store.blobs.read(digest))
    return found


def line_of(error: PolyarchError) -> int:
    assert isinstance(error.place, Location)
    return error.place.start


def archive(path: Path) -> Found:
    return validate(read_archive(path.read_bytes()))


def test_an_image_of_one_platform(engine: FakeEngine, context: Path) -> None:
    result = build(engine, context, platforms="linux/arm64", tags="app")

    manifest = document(engine, result.digest)
    config = document(engine, manifest["config"]["digest"])
    assert (config["architecture"], config["config"]) == (
        "arm64",
        {"ArgsEscaped": True, "Env": ["PATH=/bin", "KIND=app"], "Cmd": ["/app/a"]},
    )
    assert [entry["created_by"].split(" # ")[0] for entry in config["history"]] == [
        "base",
        "COPY /ran/prepare /tools",
        "COPY src/a /app/",
        "RUN /bin/sh -c compile",
        "ENV KIND=app",
        'CMD ["/app/a"]',
    ]
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 4
    assert result.names == ("docker.io/library/app:latest",)
    assert engine.store.refs.find("docker.io/library/app:latest") is not None


def test_an_index_has_each_platform_and_common_steps_are_one(
    engine: FakeEngine, context: Path
) -> None:
    result = build(engine, context, platforms=TWO, tags="app")

    index = document(engine, result.digest)
    platforms = [each["platform"]["architecture"] for each in index["manifests"]]
    assert platforms == ["amd64", "arm64"]
    assert result.manifests == {
        name: each["digest"] for name, each in zip(TWO, index["manifests"], strict=True)
    }
    # `prepare` is for the build platform, and is done once: 1 + 2 * (COPY, COPY, RUN).
    assert result.ran == 7


def test_files_reach_each_output(engine: FakeEngine, context: Path, tmp_path: Path) -> None:
    outputs = (
        Output(type="oci", destination=str(tmp_path / "app.tar")),
        Output(type="local", destination=str(tmp_path / "out")),
    )

    build(engine, context, platforms=TWO, outputs=outputs)

    images = {image.platform: image for image in archive(tmp_path / "app.tar").images}
    assert set(images) == set(TWO)
    for name in TWO:
        directory = tmp_path / "out" / name.replace("/", "_")
        assert (directory / "app/a").read_text() == "text a"
        assert (directory / "ran/compile").read_text() == name


def test_a_failed_step_leaves_no_name_and_no_output(
    engine: FakeEngine, context: Path, tmp_path: Path
) -> None:
    (context / "Dockerfile").write_text(f'FROM {BASE}\nRUN ["fail"]\n')
    output = Output(type="oci", destination=str(tmp_path / "app.tar"))

    with pytest.raises(StepFailed) as caught:
        build(engine, context, tags="app", outputs=(Output(type="image"), output))

    assert line_of(caught.value) == 2
    assert engine.store.refs.find("docker.io/library/app:latest") is None
    assert not (tmp_path / "app.tar").exists()


def test_a_base_that_is_not_there_names_its_line(engine: FakeEngine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM registry.test/none\n")

    with pytest.raises(NotFound, match=r"registry\.test/none:latest: not found") as caught:
        build(engine, context)

    assert line_of(caught.value) == 1


def test_what_has_no_output_is_built_all_the_same(engine: FakeEngine, context: Path) -> None:
    result = build(engine, context, outputs=(Output(type="cacheonly"),))

    assert (result.descriptor, result.ran) == (None, 4)


def test_outputs_are_announced_before_steps_run(engine: FakeEngine, context: Path) -> None:
    events: list[Event] = []

    build_on(engine, make_request(context, tags="app"), sink=events.append)

    names = [each.name for each in events if isinstance(each, StepEvent)]
    assert list(dict.fromkeys(names)) == [
        "[internal] load build definition from Dockerfile",
        f"[internal] load metadata for {BASE}",
        "exporting layers",
        "exporting to image",
    ]


def test_findings_of_checks_are_told_once_for_all_platforms(
    engine: FakeEngine, context: Path
) -> None:
    (context / "Dockerfile").write_text(f"from {BASE}\nRUN compile\n")
    events: list[Event] = []

    build_on(engine, make_request(context, platforms=TWO), sink=events.append)

    found = [each for each in events if isinstance(each, WarningEvent)]
    assert [each.short.partition(":")[0] for each in found] == ["ConsistentInstructionCasing"]


def test_the_date_of_the_source_dates_all_that_is_new(engine: FakeEngine, context: Path) -> None:
    result = build(engine, context, build_args={"SOURCE_DATE_EPOCH": "1700000000"})

    config = document(engine, document(engine, result.digest)["config"]["digest"])
    dates = {config["created"], *(each["created"] for each in config["history"][1:])}
    assert dates == {"2023-11-14T22:13:20Z"}
    again = build(engine, context, build_args={"SOURCE_DATE_EPOCH": "1700000000"})
    assert again.digest == result.digest
