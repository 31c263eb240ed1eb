"""What `imagetools inspect` finds in an image: platforms, configs, attestations, each fetched when asked for.

Source: buildx's documentation of `imagetools inspect`; BuildKit's of how attestations are stored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from polyarch.cli.imagetools.values import DESCRIPTOR, IMAGE, INDEX, MANY, ONE, PROVENANCE, SBOM
from polyarch.digest import Digest
from polyarch.errors import IntegrityError
from polyarch.golang.json import read_json
from polyarch.golang.template.structs import GoStruct, Struct, StructMap
from polyarch.golang.template.values import Value
from polyarch.images.place import Place, read_blob
from polyarch.images.transfer import attestation_at
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index, is_manifest
from polyarch.oci.platform import read_platform
from polyarch.pattern import pattern
from polyarch.platforms import Platform, normalize

__all__ = ["Inspected"]

_REFERS_TO = ("com.docker.reference.digest", "vnd.docker.reference.digest")
_PREDICATE = "in-toto.io/predicate-type"
_STATEMENT = "application/vnd.in-toto+json"
_ENVELOPE = pattern(r"application/vnd\.in-toto\..*\+dsse")
_PROVENANCE = "https://slsa.dev/provenance/"
_SPDX = "https://spdx.dev/Document"
_DEPTH = 8
_LARGEST = 16 << 20
"""Bytes of an attestation: lists of software are long."""


class Inspected:
    """An image at a place: its root, and what it leads to. `typed` is how the user calls it."""

    def __init__(self, place: Place, typed: str, root: Descriptor, data: bytes) -> None:
        self._place = place
        self._typed = typed
        self._root = root
        self._data = data
        self._documents: dict[Digest, bytes] = {root.digest: data}

    @property
    def manifests(self) -> tuple[Descriptor, ...]:
        """The manifests of an index; of a manifest itself, none."""
        return parse_index(self._data).manifests if is_index(self._root.media_type) else ()

    def record(self) -> GoStruct:
        """Return what a template sees. Raises, when it is looked at, IntegrityError, RegistryError."""
        is_many = len(self._platforms) > 1
        values: dict[str, Callable[[], Value]] = {
            "Name": lambda: self._typed,
            "Manifest": self._manifest,
            "Image": lambda: self._several(self._images(), None),
        }
        methods: dict[str, Callable[[], Value]] = {
            "SBOM": lambda: self._several(self._sbom(), SBOM),
            "Provenance": lambda: self._several(self._provenance(), PROVENANCE),
        }
        return GoStruct(MANY if is_many else ONE, _Lazy(values), _Lazy(methods))

    def _several(self, found: Mapping[str, Value], single: Struct | None) -> Value:
        """Platforms are only told apart where there are several."""
        if len(self._platforms) > 1:
            return found if single is None else StructMap(found, single)
        return next(iter(found.values()), None if single is None else single.zero())

    def _manifest(self) -> Value:
        root = self._root.to_json()
        if is_index(self._root.media_type):
            document = Fields(_read(self._data, self._root)).rest(())
            own = {key: document.get(key) for key in ("schemaVersion", "mediaType")}
            listed = {key: document.get(key) for key in ("manifests", "annotations")}
            return INDEX.read({**root, **own, **listed})
        return DESCRIPTOR.read(root) if is_manifest(self._root.media_type) else None

    @cached_property
    def _platforms(self) -> dict[str, Descriptor]:
        found: dict[str, Descriptor] = {}
        for descriptor in self._walk(self._root, 0):
            if not _subject(descriptor):
                found[str(normalize(self._platform(descriptor)))] = descriptor
        return dict(sorted(found.items()))

    def _walk(self, descriptor: Descriptor, depth: int) -> Iterator[Descriptor]:
        """Give all manifests below an index, or the manifest itself."""
        if depth > _DEPTH:
            raise IntegrityError(f"indexes in indexes, more than {_DEPTH} deep")
        if is_index(descriptor.media_type):
            for each in parse_index(self._document(descriptor)).manifests:
                yield from self._walk(each, depth + 1)
        elif is_manifest(descriptor.media_type):
            yield descriptor

    def _platform(self, descriptor: Descriptor) -> Platform:
        if descriptor.platform is not None:
            return descriptor.platform
        return read_platform(read_document(self._config(descriptor)))

    def _images(self) -> dict[str, Value]:
        return {
            name: IMAGE.read(_read(self._config(descriptor), descriptor))
            for name, descriptor in self._platforms.items()
        }

    def _statements(self) -> Iterator[tuple[str, str, Value]]:
        """Give platform, type and predicate of each attestation."""
        for name, descriptor in self._attestations():
            for layer in parse_manifest(self._document(descriptor)).layers:
                kind = layer.annotations.get(_PREDICATE, "")
                if kind and (layer.media_type == _STATEMENT or _ENVELOPE.match(layer.media_type)):
                    yield name, kind, self._predicate(layer)

    def _attestations(self) -> Iterator[tuple[str, Descriptor]]:
        """Give the manifests of attestations with their platforms: those that the index lists, else referrers."""
        names = {descriptor.digest: name for name, descriptor in self._platforms.items()}
        listed = [each for each in self._walk(self._root, 0) if Digest(_subject(each)) in names]
        for each in listed:
            yield names[Digest(_subject(each))], each
        if not listed:
            for name, descriptor in self._platforms.items():
                if (found := attestation_at(self._place, descriptor)) is not None:
                    yield name, found

    def _predicate(self, layer: Descriptor) -> Value:
        data = self._blob(layer)
        try:
            if _ENVELOPE.match(layer.media_type):
                data = base64.b64decode(json.loads(data)["payload"], validate=True)
            predicate: Value = json.loads(data).get("predicate")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise IntegrityError(f"the attestation {layer.digest} is no statement") from error
        return predicate

    def _provenance(self) -> dict[str, Value]:
        return {
            name: PROVENANCE.read({"SLSA": predicate})
            for name, kind, predicate in self._statements()
            if kind.startswith(_PROVENANCE)
        }

    def _sbom(self) -> dict[str, Value]:
        documents: dict[str, list[Value]] = {}
        for name, kind, predicate in self._statements():
            if kind == _SPDX:
                documents.setdefault(name, []).append(predicate)
        return {
            name: SBOM.read({"SPDX": first, "AdditionalSPDXs": more or None})
            for name, (first, *more) in documents.items()
        }

    def _document(self, descriptor: Descriptor) -> bytes:
        found = self._documents.get(descriptor.digest)
        if found is None:
            found = self._documents[descriptor.digest] = self._place.manifest(descriptor)
        return found

    def _config(self, descriptor: Descriptor) -> bytes:
        return self._blob(parse_manifest(self._document(descriptor)).config)

    def _blob(self, descriptor: Descriptor) -> bytes:
        found = self._documents.get(descriptor.digest)
        if found is None:
            found = read_blob(self._place, descriptor, _LARGEST)
            self._documents[descriptor.digest] = found
        return found


def _subject(descriptor: Descriptor) -> str:
    """Return the digest of the manifest that an attestation is about, "" for anything else."""
    told = (descriptor.annotations.get(key, "") for key in _REFERS_TO)
    return next(filter(None, told), "")


class _Lazy(Mapping[str, Value]):
    """Values that are made when they are asked for, and once."""

    def __init__(self, makers: Mapping[str, Callable[[], Value]]) -> None:
        self._makers = makers
        self._made: dict[str, Value] = {}

    def __getitem__(self, key: str) -> Value:
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def __contains__(self, key: object) -> bool:
        return key in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _read(data: bytes, descriptor: Descriptor) -> object:
    """Read the JSON of an image. Raises IntegrityError."""
    try:
        return read_json(data)
    except ValueError as error:
        raise IntegrityError(f"{descriptor.digest} is no document: {error}") from error
