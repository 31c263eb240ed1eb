"""Our client of BuildKit's API on our own server: what is beside a plain build."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from polyarch.buildkit.build import Remote, ask_remotely, build_remotely
from polyarch.progress import CancelToken, ignore_events
from polyarch.record import replace
from polyarch.request.annotation import Annotation
from polyarch.request.make import make_request
from polyarch.request.values import CacheEntry, Output
from tests.support.fakes.engine import BASE
from tests.support.images.layouts import read_archive
from tests.support.images.trees import plant


def build(remote: Remote, context: Path, out: Path, **options: Any) -> dict[str, str]:
    """Build the files of a result, and return them."""
    outputs = (Output(type="local", destination=str(out)),)
    request = make_request(context, attestations=(), outputs=outputs, **options)
    build_remotely(remote, request, sink=ignore_events, cancel=CancelToken())
    return {
        str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()
    }


def test_a_question(remote: Remote, tmp_path: Path) -> None:
    context = plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\n"})
    request = make_request(context, target="app", outputs=())

    told = ask_remotely(remote, request, "outline", sink=ignore_events, cancel=CancelToken())

    assert told["result.txt"] == b"frontend.outline of app"


def test_annotations_are_asked_for_of_images(remote: Remote, tmp_path: Path) -> None:
    context = plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\n"})
    image, files = tmp_path / "image.tar", tmp_path / "files"
    outputs = (
        Output(type="oci", destination=str(image)),
        Output(type="local", destination=str(files)),
    )
    asked = (Annotation(key="k", value="v"), Annotation(key="i", value="w", level="index"))
    request = make_request(context, attestations=(), outputs=outputs, annotations=asked)
    request = replace(request, build_args={"BUILDKIT_MULTI_PLATFORM": "1"})

    build_remotely(remote, request, sink=ignore_events, cancel=CancelToken())

    with tarfile.open(image) as tar:
        documents = [tar.extractfile(each) for each in tar.getmembers() if each.isfile()]
        texts = [each.read(1 << 20) for each in documents if each is not None]
    found = [json.loads(text) for text in texts if text.startswith(b"{")]
    told = [each["annotations"] for each in found if "annotations" in each]
    assert {"k": "v"} in told
    assert {"i": "w"} in told


def test_a_layout_is_read_over_the_session(remote: Remote, tmp_path: Path) -> None:
    layout, first = tmp_path / "layout", tmp_path / "first"
    base = plant(first, {"Dockerfile": f"FROM {BASE}\nCOPY made /\n", "made": "here"})
    archive = tmp_path / "image.tar"
    wanted = make_request(
        base, attestations=(), outputs=(Output(type="oci", destination=str(archive)),)
    )
    build_remotely(remote, wanted, sink=ignore_events, cancel=CancelToken())
    unpack(archive, layout)
    context = plant(tmp_path / "context", {"Dockerfile": "FROM below\nCOPY more /\n", "more": "x"})
    image = make_request(
        context,
        attestations=(),
        build_contexts={"below": f"oci-layout://{layout}"},
        outputs=(Output(type="oci", destination=str(archive)),),
    )

    build_remotely(remote, image, sink=ignore_events, cancel=CancelToken())

    assert len(layers(read_archive(archive.read_bytes()))) == 3


def layers(layout: dict[str, bytes]) -> list[object]:
    """Return the layers of a layout's only image."""
    entry = json.loads(layout["index.json"])["manifests"][0]
    manifest = json.loads(layout[f"blobs/{entry['digest'].replace(':', '/')}"])
    found: list[object] = manifest["layers"]
    return found


def unpack(archive: Path, directory: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")


def test_caches_in_directories_are_written_and_read_over_the_session(
    remote: Remote, tmp_path: Path
) -> None:
    context = plant(tmp_path / "context", {"Dockerfile": f"FROM {BASE}\nRUN prepare\n"})
    cache = tmp_path / "cache"
    there = {"src": str(cache), "tag": "mine"}

    def run(**options: Any) -> None:
        request = make_request(context, attestations=(), outputs=(), **options)
        build_remotely(remote, request, sink=ignore_events, cancel=CancelToken())

    run(cache_from=(CacheEntry(type="local", attributes=there),))
    run(
        cache_to=(
            CacheEntry(type="local", attributes={"dest": str(cache), "tag": "mine", "mode": "max"}),
        )
    )
    run(cache_from=(CacheEntry(type="local", attributes=there),), no_cache_filter=("x",))

    entry = json.loads((cache / "index.json").read_text())["manifests"][0]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "mine"
    assert (cache / "blobs" / entry["digest"].replace(":", "/")).is_file()
    assert list((cache / "ingest").iterdir()) == []
