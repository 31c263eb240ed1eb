"""Builds and what they attest, gone the whole way: steps run nothing, all else is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.pipeline.build import build_on
from polyarch.request.attestation import Attestation
from polyarch.request.make import make_request
from polyarch.request.result import BuildResult
from polyarch.request.values import Output
from tests.support.fakes.engine import BASE, FakeEngine, fake_engine
from tests.support.images.trees import plant

TWO = ("linux/amd64", "linux/arm64")
STATUS = "Package: made\\nStatus: install ok installed\\nVersion: 1\\n"
DOCKERFILE = f"""\
FROM {BASE} AS tools
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY status /var/lib/dpkg/status
FROM {BASE}
ARG PASSWORD
COPY --from=tools /var/lib/dpkg/status /tools
RUN compile
"""
FULL = Attestation(type="provenance", attributes={"mode": "max"})
SBOM = Attestation(type="sbom")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    status = STATUS.replace("\\n", "\n")
    return plant(tmp_path / "context", {"Dockerfile": DOCKERFILE, "status": status})


def build(engine: FakeEngine, context: Path, **options: Any) -> BuildResult:
    return build_on(engine, make_request(context, **options))


def document(engine: FakeEngine, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.store.blobs.read(Digest(digest)))
    return found


def statements(engine: FakeEngine, result: BuildResult) -> list[dict[str, Any]]:
    """Return the statements in an index, in order."""
    found = []
    for each in document(engine, result.digest)["manifests"]:
        if each["platform"]["os"] == "unknown":
            layers = document(engine, each["digest"])["layers"]
            found += [document(engine, layer["digest"]) for layer in layers]
    return found


def test_builds_say_where_images_come_from(engine: FakeEngine, context: Path) -> None:
    result = build(engine, context, platforms=TWO, tags=("app", "registry.test/app:2"))

    first, second = statements(engine, result)
    assert [each["name"] for each in first["subject"]] == [
        "pkg:docker/app@latest?platform=linux%2Famd64",
        "pkg:docker/registry.test/app@2?platform=linux%2Famd64",
    ]
    digest = result.manifests["linux/arm64"].removeprefix("sha256:")
    assert second["subject"][0]["digest"] == {"sha256": digest}
    (material,) = second["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert material["uri"] == "pkg:docker/registry.test/base@1?platform=linux%2Farm64"


def test_lists_come_before_provenance(engine: FakeEngine, context: Path) -> None:
    result = build(engine, context, tags="app", attestations=(FULL, SBOM))

    kinds = [each["predicateType"] for each in statements(engine, result)]
    spdx = "https://spdx.dev/Document"
    assert kinds == [spdx, spdx, "https://slsa.dev/provenance/v1"]


def test_an_epoch_makes_builds_agree(tmp_path: Path, context: Path) -> None:
    digests = set()
    for name in ("one", "other"):
        with fake_engine(tmp_path / name) as engine:
            args = {"SOURCE_DATE_EPOCH": "1700000000"}
            digests.add(build(engine, context, tags="app", build_args=args).digest)

    assert len(digests) == 1


def test_the_software_of_stages_is_listed_where_that_is_asked_for(
    engine: FakeEngine, context: Path
) -> None:
    result = build(engine, context, tags="app", attestations=(SBOM,))

    own, stage = (each["predicate"] for each in statements(engine, result))
    assert (own["name"], stage["name"]) == ("sbom", "sbom-tools")
    assert len(own["packages"]) == 1  # the image itself
    assert [each["name"] for each in stage["packages"][1:]] == ["made"]


def test_files_have_attestations_beside_them(
    engine: FakeEngine, context: Path, tmp_path: Path
) -> None:
    outputs = (
        Output(type="local", destination=str(tmp_path / "out")),
        Output(type="tar", destination=str(tmp_path / "out.tar")),
    )

    build(engine, context, outputs=outputs, attestations=(FULL, SBOM))

    out = tmp_path / "out"
    statement = json.loads((out / "provenance.json").read_text())
    assert "ran/compile" in [each["name"] for each in statement["subject"]]
    assert (out / "provenance.json").stat().st_mode & 0o777 == 0o600
    assert (out / "sbom-tools.spdx.json").exists()
    assert b"provenance.json" in (tmp_path / "out.tar").read_bytes()


def test_files_have_none_unless_that_is_asked_for(
    engine: FakeEngine, context: Path, tmp_path: Path
) -> None:
    build(engine, context, outputs=(Output(type="local", destination=str(tmp_path / "out")),))

    assert not (tmp_path / "out/provenance.json").exists()


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_result_tells_of_it(engine: FakeEngine, context: Path, mode: str) -> None:
    args = {"PASSWORD": "hunter22", "V": "1"}

    result = build(
        engine, context, attestations=(), result_provenance=mode, build_args=args, tags="app"
    )

    told = json.loads(result.provenance[""])
    assert told["buildType"] == "https://mobyproject.org/buildkit@v1"
    # Even in short, as it is not published.
    assert told["invocation"]["parameters"]["args"] == {
        "build-arg:PASSWORD": "xxxxx",
        "build-arg:V": "1",
    }
    assert ("metadata" in told, "buildConfig" in told) == (mode == "max", mode == "max")
    assert "hunter22" not in result.provenance[""]
    assert result.config_digest is not None  # nothing is attested


def test_build_arguments_ask_for_it_too(engine: FakeEngine, context: Path) -> None:
    args = {"BUILDKIT_ATTEST_PROVENANCE": "mode=min,version=v0.2"}

    result = build(engine, context, tags="app", attestations=(), build_args=args)

    (statement,) = statements(engine, result)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v0.2"


@pytest.mark.parametrize(
    ("attestation", "output", "message"),
    [
        (Attestation(type="x"), Output(type="image"), 'unknown attestation type "x"'),
        (
            FULL,
            Output(type="docker", destination="f"),
            "docker exporter does not support exporting manifest lists",
        ),
    ],
)
def test_what_is_refused_before_the_build(
    engine: FakeEngine, context: Path, attestation: Attestation, output: Output, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build(engine, context, outputs=(output,), attestations=(attestation,))
