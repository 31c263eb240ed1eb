"""Attestations that are about what they stand beside, and those that aren't."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyarch.attest.check import FoundStatement, Trouble, check_attestations
from polyarch.attest.statement import Predicate
from polyarch.digest import Digest
from polyarch.exporter.annotations import Annotations
from polyarch.exporter.assembled import Assembled
from polyarch.exporter.layout import write_directory
from polyarch.exporter.result import Export
from polyarch.images.layout import Layout
from polyarch.request.values import Output
from tests.support.images.exports import AMD64, ARM64, Results

KIND = "https://slsa.dev/provenance/v1"
OUTPUT = Output(type="image", attributes={"name": "app"})
PREDICATE = Predicate(type=KIND, content={"a": 1}, filename="p.json")


def exported(results: Results, directory: Path, *, referrers: bool = False) -> Export:
    """Write an image of two platforms with attestations to a layout."""
    stack = results.stack({"f": "x"})
    made = Assembled(
        images=tuple(results.image(stack, platform) for platform in (AMD64, ARM64)),
        is_index=True,
        created=0.0,
        annotations=Annotations(),
        has_referrers=referrers,
    )
    export = made.export(OUTPUT, {AMD64: [PREDICATE], ARM64: [PREDICATE]})
    write_directory(results.add_documents(export), results.place(), directory)
    return export


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "store")


@pytest.mark.parametrize("referrers", [False, True])
def test_statements_of_all_platforms(results: Results, tmp_path: Path, referrers: bool) -> None:
    export = exported(results, tmp_path / "layout", referrers=referrers)

    found = check_attestations(
        Layout(tmp_path / "layout"), export.root.descriptor, export.root.data
    )

    assert found.troubles == []
    assert set(found.statements) == {
        FoundStatement(
            type=KIND,
            subject=Digest(each.subject),
            digest=each.statements[0].descriptor.digest,
        )
        for each in export.attested
    }


class Forged(Layout):
    """A layout one of whose documents says something else, under the old digest."""

    def __init__(self, directory: Path, digest: Digest, change: Callable[[Any], None]) -> None:
        super().__init__(directory)
        self._digest, self._change = digest, change

    def manifest(self, descriptor: Any) -> bytes:
        data = super().manifest(descriptor)
        if descriptor.digest != self._digest:
            return data
        document = json.loads(data)
        self._change(document)
        return json.dumps(document).encode()


def test_one_about_another_manifest_is_refused(results: Results, tmp_path: Path) -> None:
    export = exported(results, tmp_path / "layout")
    other = export.images[1].manifest.descriptor.digest

    def change(manifest: Any) -> None:
        manifest["subject"]["digest"] = other

    digest = export.attested[0].manifest.descriptor.digest
    place = Forged(tmp_path / "layout", digest, change)
    found = check_attestations(place, export.root.descriptor, export.root.data)

    what = f"the attestation is about {other}, and stands beside {export.attested[0].subject}"
    assert found.troubles == [Trouble(digest=digest, what=what)]
    # The other platform's is as it should be.
    assert len(found.statements) == 1


def test_statements_of_other_images_and_types_are_refused(results: Results, tmp_path: Path) -> None:
    export = exported(results, tmp_path / "layout")
    foreign = export.attested[1].statements[0].descriptor.to_json()
    digest = export.attested[0].manifest.descriptor.digest

    def swap(manifest: Any) -> None:
        manifest["layers"] = [foreign]

    def rename(manifest: Any) -> None:
        manifest["layers"][0]["annotations"]["in-toto.io/predicate-type"] = "other"

    def point(manifest: Any) -> None:
        manifest["layers"] = [{**manifest["config"], "mediaType": foreign["mediaType"]}]

    messages = []
    for change in (swap, rename, point):
        place = Forged(tmp_path / "layout", digest, change)
        found = check_attestations(place, export.root.descriptor, export.root.data)
        messages += [each.what for each in found.troubles]

    subject = export.attested[0].subject
    assert messages == [
        f"the attestation isn't about {subject}",
        "the attestation isn't of the type that it is listed as",
        "the attestation is no statement",
    ]


def test_one_about_what_is_not_there_is_refused(results: Results, tmp_path: Path) -> None:
    export = exported(results, tmp_path / "layout")
    index = json.loads(export.root.data)
    del index["manifests"][0]

    data = json.dumps(index).encode()
    found = check_attestations(Layout(tmp_path / "layout"), export.root.descriptor, data)

    subject = export.attested[0].subject
    assert [each.what for each in found.troubles] == [
        f"the attestation is about {subject}, which the index doesn't list"
    ]
