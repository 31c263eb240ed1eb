"""Manifests and indexes from several places -> one index: the rules of `imagetools create`.

Values only; `create` brings what goes in and takes away what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from polyarch.digest import Digest, sha256
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.golang.strconv import quote
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.index import parse_index
from polyarch.oci.media import DOCKER_INDEX, OCI_INDEX, is_index
from polyarch.oci.platform import NOWHERE
from polyarch.platforms import Platform, normalize, rank
from polyarch.record import field, frozen, replace
from polyarch.request.annotation import Annotation

__all__ = ["Attestation", "Merged", "SourceDocument", "in_one_go", "merge"]

_REFERS_TO = "vnd.docker.reference.digest"
_REFERS_AS = "vnd.docker.reference.type"
_ATTESTATION = "attestation-manifest"
_DOCKER = "application/vnd.docker."

Attestation = Callable[[Descriptor, str], Descriptor | None]
"""Finds the attestation of a manifest at a place, if it is there but in no index."""


@frozen
class SourceDocument:
    """A manifest or index that goes in; a manifest's descriptor says its platform.

    `place` is where it comes from: the name of a `Place`.
    """

    descriptor: Descriptor
    data: bytes = field(repr=False)
    place: str


@frozen
class Merged:
    """What comes out: the root document, and where each of its entries comes from."""

    descriptor: Descriptor
    data: bytes = field(repr=False)
    places: Mapping[Digest, str]
    entries: tuple[Descriptor, ...]
    """The manifests below the root, in order; for a single manifest, itself. Attestations that were added
    aren't among them: they come along with what they are about."""

    @property
    def images(self) -> tuple[Descriptor, ...]:
        """The entries that are no attestations."""
        return tuple(each for each in self.entries if not _subject(each))


def merge(
    sources: Sequence[SourceDocument],
    *,
    annotations: Iterable[Annotation] = (),
    platforms: Sequence[Platform] = (),
    prefer_index: bool = True,
    attestation: Attestation = lambda _descriptor, _place: None,
) -> Merged:
    """Make one document of the sources. Raises InputError for annotations that can't be.

    A single source that nothing changes stays as it is, to the byte. Each manifest is there once, whatever
    its platform. `platforms` keeps those that match one of them, with their attestations; none keeps all.
    """
    notes = tuple(annotations)
    only = sources[0]
    if len(sources) > 1 or notes or not (is_index(only.descriptor.media_type) or not prefer_index):
        return _filtered(_joined(sources, notes), platforms, attestation)
    if is_index(only.descriptor.media_type):
        entries = parse_index(only.data).manifests
        whole = Merged(
            descriptor=only.descriptor,
            data=only.data,
            places={each.digest: only.place for each in entries},
            entries=entries,
        )
        return _filtered(whole, platforms, attestation)
    platform = only.descriptor.platform
    if platforms and not _matches(platform, platforms):
        raise InputError(
            f"input platform {platform or 'unknown'} does not match any of the provided platforms"
        )
    return Merged(
        descriptor=only.descriptor,
        data=only.data,
        places={only.descriptor.digest: only.place},
        entries=(only.descriptor,),
    )


def in_one_go(merged: Merged) -> Merged:
    """Return an index with attestations behind all images, as a build of all platforms lists them."""
    fields = read_document(merged.data)
    entries = sorted(merged.entries, key=lambda each: bool(_subject(each)))
    notes = dict(sorted(fields.text_map("annotations").items()))
    descriptor, data = _index(merged.descriptor.media_type, entries, {"annotations": notes})
    return replace(merged, descriptor=descriptor, data=data, entries=tuple(entries))


def _joined(sources: Sequence[SourceDocument], notes: Sequence[Annotation]) -> Merged:
    """Make an index of all manifests of the sources."""
    found: dict[Digest, Descriptor] = {}
    places: dict[Digest, str] = {}
    for source in sources:
        listed: Sequence[Descriptor] = (source.descriptor,)
        if is_index(source.descriptor.media_type):
            listed = parse_index(source.data).manifests
        for each in listed:
            known = found.get(each.digest)
            found[each.digest] = each if known is None else _combined(known, each)
            places[each.digest] = source.place
    entries = list(found.values())
    media_type = DOCKER_INDEX
    index_notes: dict[str, str] = {}
    # Docker's lists have no annotations.
    if not all(each.media_type.startswith(_DOCKER) for each in entries):
        media_type = OCI_INDEX
        entries, index_notes = _annotated(entries, notes)
    descriptor, data = _index(
        media_type, entries, {"annotations": dict(sorted(index_notes.items()))}
    )
    return Merged(descriptor=descriptor, data=data, places=places, entries=tuple(entries))


def _index(
    media_type: str, entries: Iterable[Descriptor], more: Mapping[str, object]
) -> tuple[Descriptor, bytes]:
    """Write an index as Go does."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "artifactType": more.get("artifactType"),
        "manifests": [each.to_json() for each in entries],
        "subject": more.get("subject"),
        "annotations": more.get("annotations"),
    }
    data = indented({key: value for key, value in document.items() if value or key == "manifests"})
    return Descriptor(media_type=media_type, digest=sha256(data), size=len(data)), data


def _combined(old: Descriptor, new: Descriptor) -> Descriptor:
    return replace(
        old,
        media_type=old.media_type or new.media_type,
        platform=new.platform or old.platform,
        annotations={**old.annotations, **new.annotations},
    )


def _kept(entries: Sequence[Descriptor], platforms: Sequence[Platform]) -> list[Descriptor]:
    """Return the entries for the platforms, and those about them."""
    matched = {each.digest for each in entries if not platforms or _may_be(each, platforms)}
    return [each for each in entries if matched & {each.digest, _subject(each)}]


def _unattested(
    kept: Sequence[Descriptor], merged: Merged, attestation: Attestation
) -> Iterator[Descriptor]:
    """Yield entries for attestations that lie beside what is kept."""
    attested = {_subject(each) for each in kept}
    digests = {each.digest for each in kept}
    for each in kept:
        if not _subject(each) and each.digest not in attested:
            found = attestation(each, merged.places[each.digest])
            if found is not None and found.digest not in digests:
                yield _attesting(found, each.digest)


def _more_fields(fields: Fields) -> dict[str, object]:
    """Return what an index has besides its entries, which one made of it has, too."""
    subject = Descriptor.from_fields(fields.object("subject")) if "subject" in fields else None
    return {
        "artifactType": fields.text("artifactType"),
        "annotations": dict(sorted(fields.text_map("annotations").items())),
        "subject": subject.to_json() if subject else None,
    }


def _filtered(merged: Merged, platforms: Sequence[Platform], attestation: Attestation) -> Merged:
    """Leave out what isn't for the platforms; take in attestations that are in no index."""
    kept = _kept(merged.entries, platforms)
    if not kept:
        raise InputError(
            "none of the manifests match the provided platforms",
            hint="polyarch imagetools inspect NAME lists the platforms of an image",
        )
    added = list(_unattested(kept, merged, attestation))
    if len(kept) == len(merged.entries) and not added:
        return merged
    more = _more_fields(read_document(merged.data))
    descriptor, data = _index(merged.descriptor.media_type, [*kept, *added], more)
    return Merged(
        descriptor=replace(descriptor, annotations=merged.descriptor.annotations),
        data=data,
        places=merged.places,
        entries=tuple(kept),
    )


def _subject(descriptor: Descriptor) -> str:
    """Return the digest of what an attestation is about, "" for anything else."""
    is_one = descriptor.annotations.get(_REFERS_AS) == _ATTESTATION
    return descriptor.annotations.get(_REFERS_TO, "") if is_one else ""


def _attesting(found: Descriptor, subject: Digest) -> Descriptor:
    """Return the entry of an attestation as indexes have it."""
    about = {_REFERS_AS: _ATTESTATION, _REFERS_TO: subject}
    return replace(
        found, platform=NOWHERE, artifact_type="", annotations={**found.annotations, **about}
    )


def _may_be(descriptor: Descriptor, platforms: Sequence[Platform]) -> bool:
    """Tell whether a manifest is for one of the platforms; one that doesn't say is for all."""
    return descriptor.platform is None or _matches(descriptor.platform, platforms)


def _matches(platform: Platform | None, platforms: Sequence[Platform]) -> bool:
    return platform is not None and any(
        rank(wanted, platform, strict=True) is not None for wanted in platforms
    )


def _annotated(
    found: Sequence[Descriptor], notes: Iterable[Annotation]
) -> tuple[list[Descriptor], dict[str, str]]:
    descriptors = list(found)
    index_notes = {}
    for note in notes:
        if note.level == "index":
            index_notes[note.key] = note.value
        elif note.level == "manifest-descriptor":
            descriptors = [_noted(each, note) for each in descriptors]
        elif note.level == "index-descriptor":
            raise InputError(f"{quote(note.level)} annotations are invalid while creating an image")
        else:
            raise InputError(f"{quote(note.level)} annotations are not supported yet")
    return descriptors, index_notes


def _noted(descriptor: Descriptor, note: Annotation) -> Descriptor:
    platform = descriptor.platform
    if note.platform is not None and (
        platform is None or str(normalize(platform)) != str(note.platform)
    ):
        return descriptor
    return replace(descriptor, annotations={**descriptor.annotations, note.key: note.value})
