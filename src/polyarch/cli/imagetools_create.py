"""`imagetools create`: one image of several, made at the registries without building anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from polyarch.cli.build_flags import PROGRESS
from polyarch.cli.command import Command, Context
from polyarch.cli.display.base import Caption
from polyarch.cli.display.display import open_display
from polyarch.cli.files import write_file
from polyarch.cli.flags import annotation_flag
from polyarch.cli.imagetools_copy import Copier, attestation_at
from polyarch.cli.imagetools_places import Place, Places
from polyarch.cli.imagetools_sources import Name, Source, parse_name, parse_sources
from polyarch.cli.interrupt import cancel_on_signals
from polyarch.cli.merge import Merged, SourceDocument, merge
from polyarch.cli.options import Flag, Kind, Options
from polyarch.engine.engine import open_transport
from polyarch.errors import InputError, InvalidPlatform
from polyarch.golang.json import indented
from polyarch.golang.strconv import quote
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index, is_manifest
from polyarch.platforms import Platform, normalize, parse
from polyarch.progress import Sink, step
from polyarch.registry.client import Client

__all__ = ["CREATE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What `create` was asked for."""

    tags: tuple[Name, ...]
    sources: tuple[Source, ...]

    @property
    def places(self) -> dict[str, list[Name]]:
        """The tags by the repositories and folders that they are in."""
        found: dict[str, list[Name]] = {}
        for tag in self.tags:
            found.setdefault(tag.place, []).append(tag)
        return found


def _asked(options: Options) -> _Asked:
    if not options.values("file") and not options.arguments:
        raise InputError("no sources specified")
    targets = options.values("tag")
    if not targets and not options.is_set("dry-run"):
        raise InputError("can't push with no tags specified, please set --tag or --dry-run")
    texts = [*map(_read_file, options.values("file")), *options.arguments]
    if options.is_set("append"):
        texts = [*targets[:1], *texts]
    tags = tuple(map(parse_name, targets))
    return _Asked(tags=tags, sources=parse_sources(texts, tags))


def _read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from error


def _load(source: Source, places: Places) -> SourceDocument:
    """Fetch the document of a source. Raises InputError for what can't be in an index."""
    descriptor, data = places.resolve(source.name)
    place = places.of(source.name)
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
    fields = read_document(b"".join(place.blob(parse_manifest(data).config)))
    if not fields.text("os") or not fields.text("architecture"):
        return known
    found = normalize(
        Platform(
            os=fields.text("os"),
            architecture=fields.text("architecture"),
            variant=fields.text("variant"),
            os_version=fields.text("os.version"),
            os_features=fields.texts("os.features"),
        )
    )
    if known is None:
        return found
    return replace(found, os=known.os or found.os, variant=known.variant or found.variant)


def _platforms(texts: Iterable[str]) -> list[Platform]:
    found = []
    for text in (each for several in texts for each in several.split(",")):
        try:
            found.append(parse(text))
        except InvalidPlatform as error:
            raise InputError(f"invalid platform {quote(text)}: {error}") from error
    return found


def _check_digests(tags: Iterable[Name], merged: Merged) -> None:
    """Refuse a name by a digest that isn't the result's before anything is written."""
    made = merged.descriptor.digest
    for tag in tags:
        if tag.digest is not None and tag.digest != made:
            raise InputError(
                f"publish {made} to {tag}: target {tag} requested digest {tag.digest} but produced "
                f"{made}"
            )


def _publish(asked: _Asked, merged: Merged, places: Places, sink: Sink) -> None:
    """Bring the entries to every target, then the root, then the names."""
    for tags in asked.places.values():
        with step(sink, f"[internal] pushing {tags[0].short}") as shown:
            copier = Copier(places, places.of(tags[0]), shown)
            for entry in merged.entries:
                copier.copy(entry, places.called(merged.places[entry.digest]))
            for source in asked.sources:
                # What was signed is often the index.
                copier.copy_referrers(merged.descriptor.digest, places.of(source.name))
            for tag in tags:
                with shown.part(f"pushing {merged.descriptor.digest} to {tag}"):
                    places.tag(tag, merged.descriptor, merged.data)


def _create(options: Options, context: Context) -> int:
    asked = _asked(options)
    annotations = annotation_flag(options.values("annotation"), parse_platform=parse)
    platforms = _platforms(options.values("platform"))
    with cancel_on_signals() as cancel, open_transport(context.environ) as transport:
        places = Places(Client(transport, cancel))
        merged = merge(
            [_load(source, places) for source in asked.sources],
            annotations=annotations,
            platforms=platforms,
            prefer_index=options.is_set("prefer-index"),
            attestation=lambda found, place: attestation_at(places.called(place), found),
        )
        if options.is_set("dry-run"):
            context.print(merged.data.decode())
            return 0
        _check_digests(asked.tags, merged)
        with open_display(
            options.text("progress"),
            stream=context.stderr,
            environ=context.environ,
            caption=Caption(work="Creating"),
        ) as display:
            _publish(asked, merged, places, display)
    if path := options.text("metadata-file"):
        found = {
            "containerimage.descriptor": merged.descriptor.to_json(),
            "image.name": ",".join(sorted({tag.short for tag in asked.tags})),
        }
        write_file(path, indented(found).decode())
    return 0


CREATE = Command(
    usage="[OPTIONS] [SOURCE...]",
    run=_create,
    most=None,
    example=(
        "$ polyarch imagetools create -t registry.example/you/app:v1 \\\n"
        "    registry.example/you/app:v1-amd64 registry.example/you/app:v1-arm64"
    ),
    flags=(
        Flag(name="annotation", kind=Kind.LIST, help="Add annotation to the image"),
        Flag(name="append", kind=Kind.SWITCH, help="Append to existing manifest"),
        Flag(name="dry-run", kind=Kind.SWITCH, help="Show final image instead of pushing"),
        Flag(
            name="file",
            short="f",
            kind=Kind.LIST,
            help="Read source descriptor from file",
            completes="files",
        ),
        Flag(name="metadata-file", help="Write create result metadata to a file"),
        Flag(
            name="platform",
            short="p",
            kind=Kind.LIST,
            help="Filter specified platforms of target image",
            completes="platforms",
        ),
        Flag(
            name="prefer-index",
            kind=Kind.SWITCH,
            default="true",
            help="When only a single source is specified, prefer outputting an image index",
        ),
        PROGRESS,
        Flag(name="tag", short="t", kind=Kind.LIST, help="Set reference for new image"),
    ),
)
