"""Manifests and indexes from several places -> one index: the rules of `imagetools create`.

Values only; what stands in registries is brought and taken away by `imagetools_create`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from polyarch.cli.flags import Annotation
from polyarch.digest import Digest, sha256
from polyarch.errors import InputError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.encode import indented
from polyarch.oci.index import parse_index
from polyarch.oci.media import DOCKER_INDEX, OCI_INDEX, is_index
from polyarch.platforms import Platform, normalize, rank
from polyarch.text.gofmt import quoted

__all__ = ["Merged", "SourceDocument", "merge"]

_REFERS_TO = "vnd.docker.reference.digest"
_DOCKER = "application/vnd.docker."


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDocument:
    """A manifest or index that goes in; a manifest's descriptor says its platform.

    `place` is where it comes from: a repository, or a folder.
    """

    descriptor: Descriptor
    data: bytes = field(repr=False)
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What comes out: the root document, and where each of its entries comes from."""

    descriptor: Descriptor
    data: bytes = field(repr=False)
    places: Mapping[Digest, str]
    """The manifests below the root, in order; for a single manifest, itself."""
    entries: tuple[Descriptor, ...]


def merge(
    sources: Sequence[SourceDocument],
    *,
    annotations: Iterable[Annotation] = (),
    platforms: Sequence[Platform] = (),
    prefer_index: bool = True,
) -> Merged:
    """Make one document of the sources. Raises InputError for annotations that can't be.

    A single source that nothing changes stays as it is, to the byte. `platforms` keeps those entries
    that match one of them, with their attestations; none keeps all.
    """
    notes = tuple(annotations)
    entries = _Entries(platforms)
    for source in sources:
        entries.add(source)
    if len(sources) == 1 and not notes and not entries.dropped:
        only = sources[0]
        if is_index(only.descriptor.media_type) or not prefer_index:
            return Merged(
                descriptor=replace(only.descriptor, platform=None, annotations={}),
                data=only.data,
                places=entries.places,
                entries=tuple(entries.found.values()),
            )
    found = list(entries.found.values())
    if not found:
        raise InputError("no manifest of the sources is for one of the platforms")
    is_docker = all(each.media_type.startswith(_DOCKER) for each in found)
    media_type = DOCKER_INDEX if is_docker else OCI_INDEX
    index_notes: dict[str, str] = {}
    if not is_docker:
        found, index_notes = _annotated(found, notes)
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [each.to_json() for each in found],
    }
    if index_notes:
        document["annotations"] = dict(sorted(index_notes.items()))
    data = indented(document)
    return Merged(
        descriptor=Descriptor(media_type=media_type, digest=sha256(data), size=len(data)),
        data=data,
        places=entries.places,
        entries=tuple(found),
    )


class _Entries:
    """The manifests so far, in order, each once."""

    def __init__(self, platforms: Sequence[Platform]) -> None:
        self.found: dict[Digest, Descriptor] = {}
        self.places: dict[Digest, str] = {}
        self.dropped = False
        self._platforms = platforms

    def add(self, source: SourceDocument) -> None:
        listed = [source.descriptor]
        if is_index(source.descriptor.media_type):
            listed = list(parse_index(source.data).manifests)
        wanted = self._wanted(listed)
        self.dropped = self.dropped or len(wanted) < len(listed)
        before = dict(self.found)
        for descriptor in wanted:
            self._add(descriptor, before)
            self.places.setdefault(descriptor.digest, source.place)

    def _wanted(self, listed: Sequence[Descriptor]) -> list[Descriptor]:
        if not self._platforms:
            return list(listed)
        kept = {each.digest for each in listed if self._matches(each.platform)}
        return [
            each
            for each in listed
            if each.digest in kept or each.annotations.get(_REFERS_TO) in kept
        ]

    def _matches(self, platform: Platform | None) -> bool:
        return platform is not None and any(
            rank(wanted, platform, strict=True) is not None for wanted in self._platforms
        )

    def _add(self, descriptor: Descriptor, before: Mapping[Digest, Descriptor]) -> None:
        known = self.found.get(descriptor.digest)
        if known is not None:
            self.found[descriptor.digest] = _joined(known, descriptor)
            return
        replaced = _same_platform(descriptor.platform, before, self.found)
        if replaced is None:
            self.found[descriptor.digest] = descriptor
            return
        # In its place; what was attested of the old one is not true of the new one.
        kept = {}
        for digest, each in self.found.items():
            if digest == replaced:
                kept[descriptor.digest] = descriptor
            elif each.annotations.get(_REFERS_TO) != replaced:
                kept[digest] = each
        self.found = kept


def _joined(old: Descriptor, new: Descriptor) -> Descriptor:
    return replace(
        old,
        media_type=old.media_type or new.media_type,
        platform=new.platform or old.platform,
        annotations={**old.annotations, **new.annotations},
    )


def _same_platform(
    platform: Platform | None,
    before: Mapping[Digest, Descriptor],
    found: Mapping[Digest, Descriptor],
) -> Digest | None:
    """Return the entry of an earlier source that is for the same platform."""
    if platform is None or platform.os in {"", "unknown"}:
        return None
    wanted = normalize(platform)
    for digest, each in before.items():
        if digest in found and each.platform is not None and normalize(each.platform) == wanted:
            return digest
    return None


def _annotated(
    found: Sequence[Descriptor], notes: Iterable[Annotation]
) -> tuple[list[Descriptor], dict[str, str]]:
    descriptors = list(found)
    index_notes = {}
    for note in notes:
        if note.type == "index":
            index_notes[note.key] = note.value
        elif note.type == "manifest-descriptor":
            descriptors = [_noted(each, note) for each in descriptors]
        elif note.type == "index-descriptor":
            raise InputError(f"{quoted(note.type)} annotations are invalid while creating an image")
        else:
            raise InputError(f"{quoted(note.type)} annotations are not supported yet")
    return descriptors, index_notes


def _noted(descriptor: Descriptor, note: Annotation) -> Descriptor:
    platform = descriptor.platform
    if note.platform is not None and (
        platform is None or str(normalize(platform)) != note.platform
    ):
        return descriptor
    return replace(descriptor, annotations={**descriptor.annotations, note.key: note.value})
