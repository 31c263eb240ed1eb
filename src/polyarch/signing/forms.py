"""The documents of signatures, as cosign and sigstore have them.

A signature under a tag is one of a *payload*, a short document that names the image's digest; one beside the image, as a
referrer, is a *bundle*: a statement about that digest in an envelope, with what it takes to check it.

Source: cosign's signature specification; sigstore's bundle format 0.3; DSSE 1.0; in-toto statement v1.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from polyarch.attest.statement import IN_TOTO, STATEMENT
from polyarch.digest import Digest, hex_of
from polyarch.golang.json import compact, indented
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import Document, document
from polyarch.oci.media import EMPTY, OCI_CONFIG, OCI_MANIFEST
from polyarch.record import replace

__all__ = [
    "BUNDLE",
    "EMPTY_CONFIG",
    "PAYLOAD",
    "PREDICATE",
    "SIGNATURE",
    "bundle_by_key",
    "payload_of",
    "pre_authenticated",
    "referrer_of",
    "signature_tag",
    "statement_of",
    "tagged_manifest",
]

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
"""The annotation of a payload's descriptor that holds the signature, in base64."""
PREDICATE = "https://sigstore.dev/cosign/sign/v1"
EMPTY_CONFIG = b"{}"
_PAYLOAD_TYPE = "cosign container image signature"
_NEVER = "0001-01-01T00:00:00Z"


def signature_tag(subject: Digest) -> str:
    """Return the tag under which the signatures of a manifest are."""
    return f"{subject.replace(':', '-', 1)}.sig"


def payload_of(repository: str, subject: Digest) -> bytes:
    """Return the payload that is signed of an image in a repository."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": subject},
        "type": _PAYLOAD_TYPE,
    }
    return compact({"critical": critical, "optional": None})


def statement_of(repository: str, subject: Digest) -> bytes:
    """Return the statement by which somebody signs an image of a repository."""
    algorithm = subject.partition(":")[0]
    return compact(
        {
            "_type": STATEMENT,
            "subject": [{"name": repository, "digest": {algorithm: hex_of(subject)}}],
            "predicateType": PREDICATE,
            "predicate": {},
        }
    )


def pre_authenticated(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that the signature of an envelope is of. Source: DSSE, "Pre-Authentication Encoding"."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def bundle_by_key(statement: bytes, signature: bytes, hint: str) -> bytes:
    """Return the bundle of a statement that a key has signed; `hint` says which."""
    return compact(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": base64.b64encode(statement).decode(),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": base64.b64encode(signature).decode()}],
            },
        }
    )


def referrer_of(subject: Descriptor, bundle: Document) -> Document:
    """Return the manifest by which a bundle is found beside what it is about.

    It says no time, as that of cosign does: the same signature has the same manifest.
    """
    made = document(
        OCI_MANIFEST,
        indented(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": BUNDLE,
                "config": document(EMPTY, EMPTY_CONFIG).descriptor.to_json(),
                "layers": [bundle.descriptor.to_json()],
                "subject": Descriptor(
                    media_type=subject.media_type, digest=subject.digest, size=subject.size
                ).to_json(),
                "annotations": {
                    "dev.sigstore.bundle.content": "dsse-envelope",
                    "dev.sigstore.bundle.predicateType": PREDICATE,
                },
            }
        ),
    )
    return replace(made, descriptor=replace(made.descriptor, artifact_type=BUNDLE))


def tagged_manifest(payloads: Iterable[Descriptor]) -> tuple[Document, Document]:
    """Return the manifest of signatures that are under a tag, and its config; the payloads are their descriptors."""
    layers = tuple(payloads)
    config = document(
        OCI_CONFIG,
        compact(
            {
                "architecture": "",
                "created": _NEVER,
                "history": [{"created": _NEVER} for _ in layers],
                "os": "",
                "rootfs": {"type": "layers", "diff_ids": [each.digest for each in layers]},
                "config": {},
            }
        ),
    )
    manifest: Mapping[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [each.to_json() for each in layers],
    }
    return document(OCI_MANIFEST, indented(manifest)), config
