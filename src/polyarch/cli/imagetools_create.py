"""`imagetools create`: one image of several, made at the registries without building anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from polyarch.cli.build_flags import PROGRESS
from polyarch.cli.command import Command, Context
from polyarch.cli.display.base import Caption
from polyarch.cli.display.display import open_display
from polyarch.cli.files import write_file
from polyarch.cli.flags import annotation_flag
from polyarch.cli.imagetools_places import FolderPlace, Place, RepositoryPlace
from polyarch.cli.imagetools_sources import (
    LAYOUT,
    LayoutPlace,
    Source,
    parse_layout,
    parse_sources,
    read_layout,
)
from polyarch.cli.interrupt import cancel_on_signals
from polyarch.cli.merge import Merged, SourceDocument, merge
from polyarch.cli.options import Flag, Kind, Options
from polyarch.errors import InputError
from polyarch.node.local import open_transport
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index, is_manifest
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, parse, parse_list
from polyarch.progress import Sink, Step, step
from polyarch.registry.client import Client

__all__ = ["CREATE"]

_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What `create` was asked for."""

    tags: tuple[Reference, ...]
    layouts: tuple[LayoutPlace, ...]
    sources: tuple[Source, ...]


def _asked(options: Options) -> _Asked:
    texts = [*map(_read_file, options.values("file")), *options.arguments]
    is_append = options.is_set("append")
    if not texts and not is_append:
        raise InputError("no sources specified")
    targets = options.values("tag")
    if not targets and not options.is_set("dry-run"):
        raise InputError("can't push with no tags specified, please set --tag or --dry-run")
    if is_append and not targets:
        raise InputError("can't append without a tag: name what to append to with --tag")
    tags = tuple(parse_reference(text) for text in targets if not text.startswith(LAYOUT))
    if is_append:
        texts.insert(0, targets[0])
    return _Asked(
        tags=tags,
        layouts=tuple(parse_layout(text) for text in targets if text.startswith(LAYOUT)),
        sources=parse_sources(texts, tags),
    )


def _read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from error


class _Workshop:
    """The places that are involved, each made once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: dict[str, Place] = {}

    def repository(self, name: str) -> RepositoryPlace:
        place = RepositoryPlace(name=name, client=self._client)
        self._places[place.name] = place
        return place

    def folder(self, path: Path) -> FolderPlace:
        place = FolderPlace(folder=path)
        self._places[place.name] = place
        return place

    def place(self, name: str) -> Place:
        return self._places[name]

    def load(self, source: Source) -> SourceDocument:
        """Fetch the document of a source. Raises InputError for what can't be in an index."""
        if source.layout is not None:
            place: Place = self.folder(source.layout.folder)
            descriptor = read_layout(source.layout)
            data = place.manifest(descriptor)
        else:
            assert source.reference is not None
            place = self.repository(source.reference.repository)
            data, media_type, digest = self._client.get_manifest(
                source.reference, source.reference.target
            )
            descriptor = Descriptor(media_type=media_type, digest=digest, size=len(data))
        if not is_index(descriptor.media_type) and not is_manifest(descriptor.media_type):
            raise InputError(f"{descriptor.media_type} is no type of image that can be in an index")
        descriptor = replace(descriptor, annotations=dict(source.annotations))
        if is_manifest(descriptor.media_type):
            platform = source.platform or descriptor.platform or _platform(place, data)
            descriptor = replace(descriptor, platform=platform)
        return SourceDocument(descriptor=descriptor, data=data, place=place.name)

    def copy(self, descriptor: Descriptor, source: Place, target: Place, shown: Step) -> None:
        """Bring a manifest, or an index, and all that it points at to another place."""
        if source.name == target.name:
            return
        with shown.part(f"copying {descriptor.digest} from {source.name} to {target.name}"):
            data = source.manifest(descriptor)
            if is_index(descriptor.media_type):
                for each in read_document(data).objects("manifests"):
                    self.copy(Descriptor.from_fields(each), source, target, shown)
            else:
                manifest = parse_manifest(data)
                _copy_blobs((manifest.config, *manifest.layers), source, target)
            target.put_manifest(descriptor, data)


def _copy_blobs(blobs: Iterable[Descriptor], source: Place, target: Place) -> None:
    distinct = {blob.digest: blob for blob in blobs}
    with ThreadPoolExecutor(_AT_ONCE, "copy") as pool:
        for done in [pool.submit(target.take_blob, each, source) for each in distinct.values()]:
            done.result()


def _platform(place: Place, data: bytes) -> Platform | None:
    """Return the platform that a manifest's config tells of."""
    config = parse_manifest(data).config
    fields = read_document(b"".join(place.blob(config)))
    if not fields.text("os") or not fields.text("architecture"):
        return None
    return Platform(
        os=fields.text("os"),
        architecture=fields.text("architecture"),
        variant=fields.text("variant"),
        os_version=fields.text("os.version"),
        os_features=fields.texts("os.features"),
    )


def _publish(asked: _Asked, merged: Merged, workshop: _Workshop, sink: Sink) -> None:
    """Bring the entries to every target, then the root, then the names."""
    for reference in asked.tags:
        with step(sink, f"[internal] pushing {reference.canonical}") as shown:
            target = workshop.repository(reference.repository)
            _bring(merged, target, workshop, shown)
            with shown.part(f"pushing {merged.descriptor.digest} to {reference.canonical}"):
                target.tag(reference, merged.descriptor, merged.data)
    for layout in asked.layouts:
        with step(sink, f"[internal] writing {layout.folder}") as shown:
            folder = workshop.folder(layout.folder)
            _bring(merged, folder, workshop, shown)
            folder.put_manifest(merged.descriptor, merged.data)
            folder.tag(layout.tag, merged.descriptor)


def _bring(merged: Merged, target: Place, workshop: _Workshop, shown: Step) -> None:
    for entry in merged.entries:
        workshop.copy(entry, workshop.place(merged.places[entry.digest]), target, shown)


def _create(options: Options, context: Context) -> int:
    asked = _asked(options)
    annotations = annotation_flag(options.values("annotation"), parse_platform=parse)
    platforms: Sequence[Platform] = parse_list(options.values("platform"))
    with cancel_on_signals() as cancel, open_transport(context.environ) as transport:
        workshop = _Workshop(Client(transport, cancel))
        merged = merge(
            [workshop.load(source) for source in asked.sources],
            annotations=annotations,
            platforms=platforms,
            prefer_index=options.is_set("prefer-index"),
        )
        if options.is_set("dry-run"):
            context.print(merged.data.decode())
            return 0
        with open_display(
            options.text("progress"),
            stream=context.stderr,
            environ=context.environ,
            caption=Caption(work="Creating"),
        ) as display:
            _publish(asked, merged, workshop, display)
    if path := options.text("metadata-file"):
        names = ",".join(reference.canonical for reference in asked.tags)
        found = {
            "containerimage.descriptor": merged.descriptor.to_json(),
            "image.name": names,
        }
        write_file(path, json.dumps(found, indent=2))
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
