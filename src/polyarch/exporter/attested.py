"""Attestations of an image as BuildKit keeps them: a manifest of statements for each platform's image.

It is listed in the index beside the images, for the platform unknown/unknown, or is found as a referrer of its
image alone. Source: BuildKit's documentation of attestation storage, `exporter/containerimage/writer.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyarch.attest.statement import IN_TOTO, PREDICATE_TYPE, Predicate, image_subjects
from polyarch.golang.json import compact, indented
from polyarch.graph.op import JSONObject
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import Document, document
from polyarch.oci.platform import NOWHERE
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform
from polyarch.record import frozen, replace

__all__ = ["ATTESTATION", "Attested", "attest", "is_attestation"]

ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
_TYPE = "vnd.docker.reference.type"
_DIGEST = "vnd.docker.reference.digest"
_KIND = "attestation-manifest"


@frozen
class Attested:
    """The statements about one image, the config that stands before them, and their manifest.

    The manifest's descriptor is that for the index.
    """

    manifest: Document
    config: Document
    statements: tuple[Document, ...]

    @property
    def subject(self) -> str:
        """The digest of the image's manifest."""
        return self.manifest.descriptor.annotations[_DIGEST]

    def as_referrer(self) -> Document:
        """Return the manifest with the descriptor that it has outside of the index."""
        plain = self.manifest.descriptor
        descriptor = replace(plain, annotations={}, platform=None, artifact_type=ATTESTATION)
        return replace(self.manifest, descriptor=descriptor)


def is_attestation(descriptor: Descriptor) -> bool:
    """Tell whether an index lists a manifest as what is said of another one."""
    return descriptor.annotations.get(_TYPE) == _KIND


def attest(
    image: Descriptor,
    platform: Platform,
    predicates: Iterable[Predicate],
    names: Sequence[Reference],
    *,
    is_artifact: bool = True,
) -> Attested:
    """Make the statements about an image and their manifest; `names` are those of the image.

    Without `is_artifact` the manifest looks like that of an image, as registries of the older specification want it.
    """
    subjects = image_subjects(names, image.digest, platform)
    statements = []
    for predicate in predicates:
        made = document(IN_TOTO, predicate.statement(subjects))
        noted = replace(made.descriptor, annotations={PREDICATE_TYPE: predicate.type})
        statements.append(replace(made, descriptor=noted))
    config = _empty_config() if is_artifact else _image_config(statements)
    whole: JSONObject = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST}
    if is_artifact:
        whole["artifactType"] = ATTESTATION
    whole["config"] = config.descriptor.to_json()
    whole["layers"] = [each.descriptor.to_json() for each in statements]
    if is_artifact:
        subject = Descriptor(media_type=image.media_type, digest=image.digest, size=image.size)
        whole["subject"] = subject.to_json()
    manifest = document(media.OCI_MANIFEST, indented(whole), NOWHERE)
    noted = replace(
        manifest.descriptor,
        annotations={_DIGEST: image.digest, _TYPE: _KIND},
    )
    return Attested(
        manifest=replace(manifest, descriptor=noted),
        config=config,
        statements=tuple(statements),
    )


def _empty_config() -> Document:
    made = document(media.EMPTY, b"{}")
    return replace(made, descriptor=replace(made.descriptor, data="e30="))


def _image_config(statements: Iterable[Document]) -> Document:
    config: JSONObject = {
        "architecture": NOWHERE.architecture,
        "os": NOWHERE.os,
        "config": {},
        "rootfs": {
            "type": "layers",
            "diff_ids": [each.descriptor.digest for each in statements],
        },
    }
    return document(media.OCI_CONFIG, compact(config))
