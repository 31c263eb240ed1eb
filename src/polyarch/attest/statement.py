"""Statements: what is said (a predicate) of what (subjects). Source: in-toto attestation framework, statement v1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from polyarch.attest.purl import image_url
from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.golang.json import compact, indented
from polyarch.graph.op import JSONObject
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = [
    "CYCLONEDX",
    "IN_TOTO",
    "PREDICATE_TYPE",
    "SPDX",
    "STATEMENT",
    "Named",
    "Predicate",
    "Subject",
    "image_subjects",
]

IN_TOTO = "application/vnd.in-toto+json"
"""The media type of a statement."""
PREDICATE_TYPE = "in-toto.io/predicate-type"
"""The annotation of a statement's blob that says of what kind it is."""
SPDX = "https://spdx.dev/Document"
CYCLONEDX = "https://cyclonedx.org/bom"
STATEMENT = "https://in-toto.io/Statement/v1"
"""What a statement says that it is."""
_LARGEST = 40 << 20
"""Bytes of a statement, as in BuildKit."""


@frozen
class Subject:
    """Something that has a digest: an image by its package URL, a file by its path."""

    name: str
    digest: Digest

    def to_json(self) -> JSONObject:
        """Return it as a resource descriptor."""
        algorithm, _, value = self.digest.partition(":")
        return {"name": self.name, "digest": {algorithm: value}}


@frozen
class Named:
    """What a frontend says that its predicate is about: something with these `digests`, by algorithm; without, the result.

    That has its own names beside this one.
    """

    name: str = ""
    digests: Mapping[str, str] | None = None

    def to_json(self, results: Iterable[JSONObject]) -> Iterator[JSONObject]:
        """Yield resource descriptors; `results` are those of the result."""
        if self.digests is not None:
            yield {"name": self.name or "_", "digest": dict(self.digests)}
            return
        for each in results:
            yield each
            if self.name:
                yield {**each, "name": self.name}


@frozen
class Predicate:
    """Something that is said of a result, or of `subjects`; `filename` is what its file is called beside files.

    With `inline_only` it is only said of images.
    """

    type: str
    content: Any
    filename: str
    inline_only: bool = False
    subjects: Sequence[Named] = ()

    def statement(self, subjects: Sequence[Subject], *, is_file: bool = False) -> bytes:
        """Return the statement of it about subjects: compact, or as a file that people read.

        Raises InputError for one that is larger than others take.
        """
        own = [each.to_json() for each in subjects]
        whole = {
            "_type": STATEMENT,
            "predicateType": self.type,
            "subject": [one for each in self.subjects or (Named(),) for one in each.to_json(own)],
            "predicate": self.content,
        }
        data = indented(whole) if is_file else compact(whole)
        if len(data) > _LARGEST:
            raise InputError(
                f"{self.filename} exceeds {_LARGEST} bytes",
                hint="leave --sbom out, or --provenance",
            )
        return data


def image_subjects(
    names: Iterable[Reference], digest: Digest, platform: Platform
) -> tuple[Subject, ...]:
    """Return an image under its names as subjects."""
    return tuple(Subject(name=image_url(str(name), platform), digest=digest) for name in names)
