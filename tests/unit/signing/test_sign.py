"""Images in layouts: signed, found signed, and what of their signatures doesn't count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyarch.attest.statement import IN_TOTO, Predicate
from polyarch.digest import Digest, sha256
from polyarch.exporter.annotations import Annotations
from polyarch.exporter.assembled import Assembled
from polyarch.exporter.layout import write_directory
from polyarch.images.layout import Layout
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import document
from polyarch.progress import CancelToken
from polyarch.request.signing import Signing
from polyarch.request.values import Output
from polyarch.signing.forms import (
    BUNDLE,
    bundle_by_key,
    pre_authenticated,
    referrer_of,
    signature_tag,
)
from polyarch.signing.judges import KeyJudge
from polyarch.signing.keys import load_private_key, load_public_key
from polyarch.signing.opening import open_signers
from polyarch.signing.sign import sign_image
from polyarch.signing.verify import Vouched, verify_signatures
from tests.support.images.exports import AMD64, ARM64, Results
from tests.support.images.keys import write_key

PREDICATE = Predicate(type="https://slsa.dev/provenance/v1", content={}, filename="p.json")


class Signed:
    """A layout with an image for two platforms, whose attestations are listed, or beside them."""

    def __init__(self, directory: Path, *, referrers: bool = False) -> None:
        results = Results(directory / "store")
        stack = results.stack({"f": "x"})
        made = Assembled(
            images=tuple(results.image(stack, each) for each in (AMD64, ARM64)),
            is_index=True,
            created=0.0,
            annotations=Annotations(),
            has_referrers=referrers,
        )
        output = Output(type="image", attributes={"name": "app"})
        export = made.export(output, {each: [PREDICATE] for each in (AMD64, ARM64)})
        write_directory(results.add_documents(export), results.place(), directory / "layout")
        self.root = export.root.descriptor
        self.place = Layout(directory / "layout")

    def sign(self, key: str) -> tuple[Digest, ...]:
        signers = open_signers([Signing(key=key)], {})
        return sign_image(self.place, self.root, signers, CancelToken())

    def verify(self, public: str) -> tuple[Vouched, ...]:
        return verify_signatures(self.place, self.root, KeyJudge(key=load_public_key(public, {})))

    def put_bundle(self, data: bytes) -> None:
        """Put a bundle beside the image, as anybody could who may push."""
        bundle = document(BUNDLE, data)
        manifest = referrer_of(self.root, bundle)
        for each in (bundle, manifest):
            self.place.put_manifest(each.descriptor, each.data, None)
        self.place.put_manifest(manifest.descriptor, manifest.data, self.root.digest)
        self.place.list_entries([Descriptor(media_type="a", digest=sha256(data), size=len(data))])


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    return write_key(tmp_path, "ecdsa")


@pytest.mark.parametrize("referrers", [False, True])
def test_all_of_an_image_is_signed_in_both_forms(
    tmp_path: Path, keys: tuple[str, str], referrers: bool
) -> None:
    image = Signed(tmp_path, referrers=referrers)

    digests = image.sign(keys[0])
    vouched = image.verify(keys[1])

    assert [each.subject.descriptor.digest for each in vouched] == list(digests)
    assert len(set(digests)) == 5
    assert [[by.form for by in each.by] for each in vouched] == [["tag", "bundle"]] * 5
    # An index vouches for what it lists, and for nothing else.
    listed = [False, True, True, True, True]
    beside = [False, True, False, True, False]
    assert [each.subject.is_below for each in vouched] == (beside if referrers else listed)


def test_nothing_is_signed_twice_by_one_key_and_others_add_theirs(
    tmp_path: Path, keys: tuple[str, str]
) -> None:
    image = Signed(tmp_path)
    other, other_public = write_key(tmp_path, "other")
    image.sign(keys[0])
    tag = signature_tag(image.root.digest)
    before = image.place.load(tag)[0].digest

    image.sign(keys[0])
    assert image.place.load(tag)[0].digest == before
    image.sign(other)
    assert image.place.load(tag)[0].digest != before
    for public in (keys[1], other_public):
        assert not any(each.is_missing for each in image.verify(public))


def test_what_does_not_count_is_told_and_does_no_harm(
    tmp_path: Path, keys: tuple[str, str]
) -> None:
    image = Signed(tmp_path)
    _, other = write_key(tmp_path, "other")
    key = load_private_key(keys[0], {})

    def bundle(statement: object) -> bytes:
        data = json.dumps(statement).encode()
        return bundle_by_key(data, key.sign(pre_authenticated(IN_TOTO, data)), key.public.hint)

    hexadecimal = image.root.digest.partition(":")[2]
    this = [{"digest": {"sha256": hexadecimal}}]
    sign = "https://sigstore.dev/cosign/sign/v1"
    image.put_bundle(bundle({"predicateType": "https://other", "subject": this}))
    image.put_bundle(bundle({"predicateType": sign, "subject": [{"digest": {"sha256": "00"}}]}))
    image.put_bundle(b'{"messageSignature": {}}')
    image.put_bundle(b"no bundle")
    unsigned = image.verify(keys[1])[0]
    image.sign(keys[0])
    signed = image.verify(keys[1])[0]

    assert unsigned.is_missing
    assert not signed.is_missing
    assert signed.refused == unsigned.refused
    told = [text.partition("sha256:")[0].partition(" is no JSON")[0] for text in signed.refused]
    assert sorted(told) == [
        "a signature can't be read: the document",
        "a signature of another image, ",
        "a signed statement of another kind: https://other",
        "the bundle ",
    ]
    assert image.verify(other)[0].refused[0] == "a signature by another key, or a damaged one"


def test_a_payload_of_another_image_does_not_count(tmp_path: Path, keys: tuple[str, str]) -> None:
    image = Signed(tmp_path)
    image.sign(keys[0])
    root, first = image.root, image.verify(keys[1])[1].subject.descriptor
    # Somebody gives one image the signatures of another.
    descriptor, data = image.place.load(signature_tag(first.digest))
    image.place.tag(signature_tag(root.digest), descriptor, data)

    vouched = image.verify(keys[1])[0]

    assert [by.form for by in vouched.by] == ["bundle"]
    assert vouched.refused == (f"a signature of another image, {first.digest}",)
