"""What policies want to know of sources, found out by this machine itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from polyarch.dockerfile.lowering.remote import git_op
from polyarch.errors import InputError, IntegrityError, NotFound
from polyarch.golang.json import read_json
from polyarch.graph.op import GitOp, HttpOp
from polyarch.images.place import Place, read_blob
from polyarch.images.transfer import attestation_at
from polyarch.oci.base import IMAGE_SCHEME, BaseImage
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.policies.provenance import SLSA_0_2, SLSA_1
from polyarch.policies.told import Chain, Source, Told, ToldGit, ToldHttp, ToldImage, Wish
from polyarch.progress import CancelToken
from polyarch.record import frozen, replace
from polyarch.store.blobs import Blobs
from polyarch.text.giturl import parse_git_reference
from polyarch.worker.image_resolver import ImageResolver
from polyarch.worker.remote import RemoteSources

__all__ = ["Finder", "Images", "op_of"]

_SUBJECT = "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"
_LARGEST = 32 << 20
_CHUNK = 1 << 20


class Images(Protocol):
    """Where repositories are."""

    def repository(self, reference: Reference) -> Place:
        """Return the place of a repository."""


@frozen
class Finder:
    """Finds out about images, files of web servers and repositories. All raise NotFound, RemoteError, IntegrityError."""

    resolver: ImageResolver
    places: Images
    remote: RemoteSources
    blobs: Blobs
    cancel: CancelToken

    def find(self, source: Source, wish: Wish, op: HttpOp | GitOp | None = None) -> Told:
        """Return what is known of a source once a wish is fulfilled; `op` is how a build would fetch it."""
        if source.identifier.startswith(IMAGE_SCHEME):
            return Told(image=self._image(source, wish))
        op = op or op_of(source)
        if isinstance(op, HttpOp):
            return Told(http=self._file(op, wish))
        found = self.remote.look(op, self.cancel, objects=wish.has_objects)
        return Told(
            git=ToldGit(
                ref=found.name,
                checksum=found.digest,
                commit=found.peeled,
                commit_object=found.commit_object,
                tag_object=found.tag_object,
            )
        )

    def _image(self, source: Source, wish: Wish) -> ToldImage:
        name = parse_reference(source.identifier.removeprefix(IMAGE_SCHEME))
        assert source.platform is not None
        image = self.resolver.resolve(name.canonical, source.platform)
        return ToldImage(
            digest=image.root or image.digest,
            config=image.config.to_json() if wish.has_config else None,
            chain=self._chain(name, image, wish) if wish.has_chain else None,
        )

    def _file(self, op: HttpOp, wish: Wish) -> ToldHttp:
        file = self.remote.file(op, self.cancel)
        if wish.checksum is None:
            return ToldHttp(checksum=file.digest)
        algorithm, suffix = wish.checksum
        state = hashlib.new(algorithm)
        with self.blobs.open(file.digest) as blob:
            while piece := blob.read(_CHUNK):
                state.update(piece)
        state.update(suffix)
        signed = f"{algorithm}:{state.hexdigest()}"
        return ToldHttp(checksum=file.digest, signed=signed, suffix=suffix)

    # --- attestations ---

    def _chain(self, name: Reference, image: BaseImage, wish: Wish) -> Chain:
        place = self.places.repository(name)
        attestation = self._attestation(place, image)
        if attestation is None:
            return Chain(has_attestations=False, statements=())
        statements = tuple(_statements(place, attestation)) if wish.has_provenance else None
        return Chain(has_attestations=True, statements=statements)

    @staticmethod
    def _attestation(place: Place, image: BaseImage) -> Descriptor | None:
        if image.root is not None and image.root != image.digest:
            root, data = place.load(image.root)
            if is_index(root.media_type):
                for each in parse_index(data).manifests:
                    if each.annotations.get(_SUBJECT) == image.digest:
                        return each
        subject, _ = place.load(image.digest)
        return attestation_at(place, subject)


def _statements(place: Place, attestation: Descriptor) -> Iterator[object]:
    manifest = parse_manifest(place.manifest(attestation))
    for layer in manifest.layers:
        if layer.annotations.get(_PREDICATE) in {SLSA_1, SLSA_0_2}:
            try:
                yield read_json(read_blob(place, layer, _LARGEST))
            except ValueError as error:
                raise IntegrityError(f"the attestation {layer.digest} is no statement") from error


def op_of(source: Source) -> HttpOp | GitOp:
    """Return what fetches a source. Raises InputError for one that can't be fetched."""
    identifier, attributes = source.identifier, source.attributes
    if identifier.startswith(("http://", "https://")):
        return HttpOp(
            url=identifier,
            filename=attributes.get("http.filename", "download"),
            auth_secret=attributes.get("http.authheadersecret", ""),
        )
    if not identifier.startswith("git://"):
        raise InputError(f"nothing can be told of sources like {identifier}")
    return _git(identifier, attributes)


def _git(identifier: str, attributes: Mapping[str, str]) -> GitOp:
    address, _, fragment = identifier.partition("#")
    full = attributes.get("git.fullurl", "").partition("#")[0]
    full = full or address.replace("git://", "https://", 1)
    reference = parse_git_reference(f"{full}#{fragment}" if fragment else full)
    if reference is None:
        raise NotFound(f"{full} isn't the address of a repository")
    return replace(git_op(reference), submodules=False)
