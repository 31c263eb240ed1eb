"""Attestation manifests, and where outputs have them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from polyarch.attest.statement import Predicate
from polyarch.digest import sha256
from polyarch.errors import InputError
from polyarch.exporter.annotations import Annotations
from polyarch.exporter.assembled import Assembled
from polyarch.exporter.attested import attest
from polyarch.exporter.attested_files import with_attestations
from polyarch.exporter.directory import DirectoryOptions, write_files
from polyarch.exporter.files import write_tar
from polyarch.exporter.result import FileTree
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_MANIFEST, is_index
from polyarch.oci.reference import parse
from polyarch.platforms import Platform
from polyarch.request.values import Output
from tests.support.images.exports import AMD64, ARM64, Results
from tests.support.images.trees import plant

INLINE = Predicate(
    type="https://slsa.dev/provenance/v1", content={"a": 1}, filename="p.json", inline_only=True
)
FOR_ALL = Predicate(type="https://spdx.dev/Document", content={"b": 2}, filename="sbom.spdx.json")
IMAGE = Descriptor(media_type=OCI_MANIFEST, digest=sha256(b"image"), size=7, platform=AMD64)
EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_manifest_of_statements_is_as_buildkits() -> None:
    found = attest(IMAGE, AMD64, [FOR_ALL, INLINE], [parse("app")])

    layers = [
        {
            "mediaType": "application/vnd.in-toto+json",
            "digest": each.descriptor.digest,
            "size": len(each.data),
            "annotations": {"in-toto.io/predicate-type": kind},
        }
        for each, kind in zip(found.statements, (FOR_ALL.type, INLINE.type), strict=True)
    ]
    assert json.loads(found.manifest.data) == {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": EMPTY,
            "size": 2,
            "data": "e30=",
        },
        "layers": layers,
        "subject": {"mediaType": OCI_MANIFEST, "digest": IMAGE.digest, "size": 7},
    }
    assert found.manifest.descriptor.to_json() == {
        "mediaType": OCI_MANIFEST,
        "digest": sha256(found.manifest.data),
        "size": len(found.manifest.data),
        "annotations": {
            "vnd.docker.reference.digest": IMAGE.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "platform": {"architecture": "unknown", "os": "unknown"},
    }
    assert found.subject == IMAGE.digest


def test_the_older_form_looks_like_an_image() -> None:
    found = attest(IMAGE, AMD64, [INLINE], [], is_artifact=False)

    manifest = json.loads(found.manifest.data)
    assert manifest.keys() == {"schemaVersion", "mediaType", "config", "layers"}
    assert json.loads(found.config.data) == {
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [found.statements[0].descriptor.digest]},
    }


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "store")


def assembled(
    results: Results, *platforms: Platform, is_index: bool = False, referrers: bool = False
) -> Assembled:
    stack = results.stack({"f": "x"})
    return Assembled(
        images=tuple(results.image(stack, platform) for platform in platforms),
        is_index=is_index,
        created=0.0,
        annotations=Annotations(),
        has_referrers=referrers,
    )


@pytest.mark.parametrize(
    ("kind", "attributes", "predicates", "count"),
    [
        ("image", {}, [INLINE], 1),
        ("registry", {}, [INLINE], 1),
        ("oci", {}, [INLINE], 0),
        ("docker", {}, [INLINE], 0),
        ("oci", {}, [FOR_ALL, INLINE], 2),
        ("oci", {"attestation-inline": "true"}, [INLINE], 1),
        ("image", {"attestation-inline": "false"}, [INLINE], 0),
        ("image", {}, [], 0),
    ],
)
def test_where_an_image_of_one_platform_has_statements(
    results: Results, kind: str, attributes: dict[str, str], predicates: list[Predicate], count: int
) -> None:
    export = assembled(results, AMD64).export(
        Output(type=kind, attributes=attributes), {AMD64: predicates}
    )

    assert sum(len(each.statements) for each in export.attested) == count
    assert is_index(export.root.descriptor.media_type) == bool(count)


def test_an_index_has_all_statements_behind_the_images(results: Results) -> None:
    made = assembled(results, AMD64, ARM64, is_index=True)

    export = made.export(Output(type="oci"), {AMD64: [INLINE], ARM64: [INLINE]})

    listed = json.loads(export.root.data)["manifests"]
    assert [each["platform"]["architecture"] for each in listed] == [
        "amd64",
        "arm64",
        "unknown",
        "unknown",
    ]
    stored = {each.descriptor.digest for each in export.documents}
    assert {each["digest"] for each in listed} < stored
    assert EMPTY in export.blobs


def test_referrers_leave_the_index_alone(results: Results) -> None:
    output = Output(type="image", attributes={"name": "app"})
    made = assembled(results, AMD64, referrers=True)

    export = made.export(output, {AMD64: [INLINE]})

    assert export.root == export.images[0].manifest
    (referrer,) = export.referrers
    assert json.loads(referrer.data)["subject"]["digest"] == export.root.descriptor.digest
    (entry,) = export.referrer_entries()
    assert entry.annotations == {"io.containerd.manifest.subject": export.root.descriptor.digest}


def test_files_have_statements_about_each(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"bin/app": "app", "etc": None})
    tree = FileTree(platform=AMD64, root=root)
    output = Output(type="local", attributes={"attestation-prefix": "all-"})

    (one,) = with_attestations([tree], {AMD64: [INLINE, FOR_ALL]}, output, is_mixed=False)
    (mixed,) = with_attestations([tree], {AMD64: [FOR_ALL]}, output, is_mixed=True)

    assert list(one.added) == ["all-sbom.spdx.json"]
    assert list(mixed.added) == ["all-sbom.spdx.linux_amd64.json"]
    assert json.loads(one.added["all-sbom.spdx.json"])["subject"] == [
        {"name": "bin/app", "digest": {"sha256": sha256(b"app").removeprefix("sha256:")}}
    ]


@pytest.mark.root
def test_a_prefix_may_name_directories(tmp_path: Path) -> None:
    tree = FileTree(
        platform=AMD64, root=plant(tmp_path / "root", {"a/zz": "", "b/a": "", "c": ""}), added={}
    )
    output = Output(type="local", attributes={"attestation-prefix": "b/x/all-"})
    trees = with_attestations([tree], {AMD64: [FOR_ALL]}, output, is_mixed=False)

    write_files(trees, tmp_path / "out", DirectoryOptions(split=False))
    archive = io.BytesIO()
    write_tar(trees, archive, split=False)

    assert (tmp_path / "out/b/x/all-sbom.spdx.json").is_file()
    with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as opened:
        names = opened.getnames()
    assert names == ["a", "a/zz", "b", "b/a", "b/x", "b/x/all-sbom.spdx.json", "c"]


@pytest.mark.parametrize("prefix", ["../", "/etc/", "link/", "file/"])
def test_a_prefix_leads_nowhere_else(tmp_path: Path, prefix: str) -> None:
    root = plant(tmp_path / "root", {"link": "-> /etc", "file": ""})
    output = Output(type="local", attributes={"attestation-prefix": prefix})

    with pytest.raises(InputError, match="leads out of the result"):
        with_attestations(
            [FileTree(platform=AMD64, root=root)], {AMD64: [FOR_ALL]}, output, is_mixed=False
        )


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    tree = FileTree(platform=AMD64, root=plant(tmp_path / "root", {}))

    with pytest.raises(InputError, match=r"duplicate attestation path name sbom\.spdx\.json"):
        with_attestations([tree], {AMD64: [FOR_ALL, FOR_ALL]}, Output(type="tar"), is_mixed=False)
