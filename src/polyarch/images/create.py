"""`imagetools create` without its flags: one image of several, at registries and in layouts, nothing built."""

from __future__ import annotations

from collections.abc import Iterable

from polyarch.errors import InputError
from polyarch.images.merge import Merged, SourceDocument, merge
from polyarch.images.names import Name, Source
from polyarch.images.place import Place, Seal, Target, read_blob
from polyarch.images.places import Places
from polyarch.images.transfer import Wanted, Watch, attestation_at, copy, copy_referrers
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index, is_manifest
from polyarch.oci.platform import read_platform
from polyarch.platforms import Platform, normalize
from polyarch.progress import CancelToken, Sink, Step, step
from polyarch.record import frozen, replace
from polyarch.request.annotation import Annotation

__all__ = ["Asked", "Bringing", "make", "publish"]


@frozen
class Asked:
    """What is to be made: of which sources, under which names; the rest is as `merge` has it."""

    sources: tuple[Source, ...]
    names: tuple[Name, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    platforms: tuple[Platform, ...] = ()
    prefer_index: bool = True


def make(asked: Asked, places: Places) -> Merged:
    """Return what comes of the sources; nothing is written. Raises NotFound, InputError, RegistryError."""
    return merge(
        [_load(source, places) for source in asked.sources],
        annotations=asked.annotations,
        platforms=asked.platforms,
        prefer_index=asked.prefer_index,
        attestation=lambda found, place: attestation_at(places.at(place), found),
    )


def _load(source: Source, places: Places) -> SourceDocument:
    """Fetch the document of a source. Raises InputError for what can't be in an index."""
    place = places.at(source.name.place)
    descriptor, data = place.load(source.name.target)
    if source.told is not None:
        descriptor = _told(descriptor, source.told)
    if not is_index(descriptor.media_type) and not is_manifest(descriptor.media_type):
        raise InputError(f"{descriptor.media_type} is no type of image that can be in an index")
    if is_manifest(descriptor.media_type):
        descriptor = replace(descriptor, platform=_platform(descriptor.platform, place, data))
    return SourceDocument(descriptor=descriptor, data=data, place=place.name)


def _told(found: Descriptor, told: Descriptor) -> Descriptor:
    """Let what the user says of a descriptor win."""
    if told.size not in {0, found.size}:
        raise InputError(f"invalid size mismatch for {found.digest}, {told.size} != {found.size}")
    return replace(
        found,
        media_type=told.media_type or found.media_type,
        annotations=told.annotations or found.annotations,
        platform=told.platform or found.platform,
        artifact_type=told.artifact_type or found.artifact_type,
    )


def _platform(known: Platform | None, place: Place, data: bytes) -> Platform | None:
    """Return a manifest's platform; what isn't known of it is in its config."""
    if known is not None and known.os and known.architecture:
        return known
    # No more of it than that is read: what has a config of another kind can be in an index, too.
    told = read_platform(read_document(read_blob(place, parse_manifest(data).config)))
    if not told.os or not told.architecture:
        return known
    found = normalize(told)
    if known is None:
        return found
    return replace(found, os=known.os or found.os, variant=known.variant or found.variant)


def publish(
    asked: Asked,
    merged: Merged,
    places: Places,
    sink: Sink,
    cancel: CancelToken,
    seal: Seal | None = None,
) -> None:
    """Bring the entries to every place that is named, then the root, then the names; `seal` signs it before it has any.

    Raises InputError for a name by a digest that isn't the result's, before anything is written;
    RegistryError, NotFound, IntegrityError, StoreError, Cancelled.
    """
    _check_digests(asked, merged)
    by_place: dict[str, list[Name]] = {}
    for name in asked.names:
        by_place.setdefault(name.place, []).append(name)
    for names in by_place.values():
        target = places.at(names[0].place)
        with step(sink, f"[internal] pushing {names[0].short}") as shown:
            bringing = Bringing(target=target, places=places, shown=shown, cancel=cancel)
            bringing.all(merged, asked.sources)
            if seal is not None:
                with shown.part(f"signing {merged.descriptor.digest}"):
                    target.put_manifest(merged.descriptor, merged.data, None)
                    seal(target, merged.descriptor)
            for name in names:
                with shown.part(f"pushing {merged.descriptor.digest} to {name}"):
                    target.tag(name.tag, merged.descriptor, merged.data)


def _check_digests(asked: Asked, merged: Merged) -> None:
    made = merged.descriptor.digest
    for name in asked.names:
        if name.digest is not None and name.digest != made:
            raise InputError(
                f"publish {made} to {name}: target {name} requested digest {name.digest} but produced "
                f"{made}"
            )


@frozen
class Bringing:
    """Brings what a result needs to one place."""

    target: Target
    places: Places
    shown: Step
    cancel: CancelToken

    def all(self, merged: Merged, sources: Iterable[Source]) -> None:
        """Bring all entries, and what is about them and about the root. Raises as `publish`."""
        for entry in merged.entries:
            source = self.places.at(merged.places[entry.digest])
            copy(entry, source, self.target, Wanted(referrers=True), self._watch(source))
        for each in sources:
            # What was signed is often the index.
            source = self.places.at(each.name.place)
            copy_referrers(merged.descriptor.digest, source, self.target, self._watch(source))

    def _watch(self, source: Place) -> Watch:
        return Watch(
            manifest=lambda each: self.shown.part(
                f"copying {each.digest} from {source.name} to {self.target.name}"
            ),
            cancel=self.cancel,
        )
