"""`imagetools create`: one image of several, made at the registries without building anything."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from polyarch.cli.building.values import annotation_flag
from polyarch.cli.display.base import Caption
from polyarch.cli.display.display import open_display
from polyarch.cli.display.flag import PROGRESS
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.files import write_file
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.errors import InputError, InvalidPlatform
from polyarch.golang.json import indented
from polyarch.golang.strconv import quote
from polyarch.images.create import Asked, make, publish
from polyarch.images.names import parse_name, parse_sources
from polyarch.images.places import open_places
from polyarch.platforms import Platform, parse

__all__ = ["CREATE"]


def _asked(options: Options) -> Asked:
    if not options.values("file") and not options.arguments:
        raise InputError(
            "no sources specified", hint="name images, or files with descriptors: -f FILE"
        )
    targets = options.values("tag")
    if not targets and not options.is_set("dry-run"):
        raise InputError("can't push with no tags specified, please set --tag or --dry-run")
    texts = [*map(_read_file, options.values("file")), *options.arguments]
    if options.is_set("append"):
        texts = [*targets[:1], *texts]
    names = tuple(map(parse_name, targets))
    return Asked(
        sources=parse_sources(texts, names),
        names=names,
        annotations=annotation_flag(options.values("annotation")),
        platforms=tuple(_platforms(options.values("platform"))),
        prefer_index=options.is_set("prefer-index"),
    )


def _read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"open {path}: {reason}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"can't read {path}: {error}") from error


def _platforms(texts: Iterable[str]) -> list[Platform]:
    found = []
    for text in (each for several in texts for each in several.split(",")):
        try:
            found.append(parse(text))
        except InvalidPlatform as error:
            raise InputError(f"invalid platform {quote(text)}: {error}") from error
    return found


def _create(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    asked = _asked(options)
    with cancel_on_signals() as cancel, open_places(context.environ, cancel) as places:
        made = make(asked, places)
        if options.is_set("dry-run"):
            context.print(made.data.decode())
            return 0
        with open_display(
            options.text("progress"),
            stream=context.stderr,
            environ=context.environ,
            caption=Caption(work="Creating"),
        ) as display:
            publish(asked, made, places, display, cancel)
    if path := options.text("metadata-file"):
        found = {
            "containerimage.descriptor": made.descriptor.to_json(),
            "image.name": ",".join(sorted({name.short for name in asked.names})),
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
        AUTHORITIES,
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
