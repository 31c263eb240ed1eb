"""`images`, `rmi`, `tag`: the names of the local store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.store import open_store
from polyarch.cli.frame.table import LINE, fitted, parse_format, table_width
from polyarch.digest import hex_of
from polyarch.engine.collect import prune
from polyarch.errors import InputError, InvalidReference, NotFound
from polyarch.golang.template.values import Value
from polyarch.golang.units import human_duration, human_size
from polyarch.images.local import StoredImage, list_images, remove_image, tag_image
from polyarch.images.pruning import PruneWish, forget_images
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference

__all__ = ["IMAGES", "RMI", "TAG", "created_seconds", "image_record", "matching"]

_DEFAULT = "{{.Name}}\t{{.Tag}}\t{{.Digest}}\t{{.Platforms}}\t{{.Created}}\t{{.Size}}"
_TITLES = {
    "Name": "NAME",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "Platforms": "PLATFORMS",
    "Created": "CREATED",
    "Size": "SIZE",
}
_SHORT = 12


def image_record(image: StoredImage, *, now: float, truncate: bool) -> dict[str, Value]:
    """Return a row of the listing; `now` is in seconds since the epoch."""
    digest = image.root.digest
    created = created_seconds(image)
    return {
        "Name": image.name.familiar_name,
        "Tag": image.name.tag or "<none>",
        "Digest": hex_of(digest)[:_SHORT] if truncate else digest,
        "Platforms": ", ".join(map(str, image.platforms)),
        "Created": f"{human_duration(max(0.0, now - created))} ago",
        "Size": human_size(image.size),
    }


def _short_rows(rows: Sequence[Mapping[str, Value]]) -> list[Mapping[str, Value]]:
    """Return the rows of a table that fits a line: platforms counted, then names cut."""
    for short in (str, _grouped, _bare):
        fitting = [{**row, "Platforms": short(str(row["Platforms"]))} for row in rows]
        if table_width(fitting, _TITLES) <= LINE:
            break
    flexible = {"Name": (12, True), "Tag": (8, False), "Created": (14, False)}
    return fitted(fitting, _TITLES, flexible)


def _grouped(platforms: str) -> str:
    first, *others = platforms.split(", ")
    return f"{first}, +{len(others)}" if others else first


def _bare(platforms: str) -> str:
    return _grouped(platforms).removeprefix("linux/")


def _json_record(image: StoredImage) -> dict[str, Value]:
    return {
        "Name": image.name.familiar_name,
        "Tag": image.name.tag or "",
        "Digest": image.root.digest,
        "Platforms": list(map(str, image.platforms)),
        "Created": image.created,
        "Size": image.size,
    }


def created_seconds(image: StoredImage) -> float:
    """Return when an image was made, else when it got its name, in seconds since the epoch."""
    try:
        return datetime.fromisoformat(image.created).timestamp()
    except ValueError:
        return image.updated


def matching(images: Iterable[StoredImage], pattern: str) -> list[StoredImage]:
    """Return the images that a name (with or without tag) or the start of a digest stands for."""
    found = list(images)
    by_digest = [image for image in found if _has_digest(image, pattern)]
    try:
        wanted = parse_reference(pattern)
    except InvalidReference:
        return by_digest
    return [image for image in found if _has_name(image, wanted)] or by_digest


def _has_digest(image: StoredImage, text: str) -> bool:
    digest = image.root.digest
    return len(text) >= 2 and (hex_of(digest).startswith(text) or digest == text)


def _has_name(image: StoredImage, wanted: Reference) -> bool:
    return (
        image.name.repository == wanted.repository
        and wanted.tag in {None, image.name.tag}
        and wanted.digest in {None, image.root.digest}
    )


def _images(options: Options, context: Context) -> int:
    form = parse_format(options.text("format"), default=_DEFAULT)
    with open_store(context) as store:
        images: Sequence[StoredImage] = list_images(store)
    if options.arguments:
        images = matching(images, options.arguments[0])
    if options.is_set("quiet"):
        context.stdout.write("".join(f"{image.root.digest}\n" for image in images))
        return 0
    if options.text("format") == "json":
        context.stdout.write(form.render(map(_json_record, images), titles={}))
        return 0
    truncate = not options.is_set("no-trunc")
    now = time.time()
    rows: Sequence[Mapping[str, Value]]
    rows = [image_record(image, now=now, truncate=truncate) for image in images]
    if truncate and options.text("format") == "table":
        rows = _short_rows(rows)
    context.stdout.write(form.render(rows, titles=_TITLES, record="image"))
    return 0


IMAGES = Command(
    usage="[OPTIONS] [NAME[:TAG]]",
    run=_images,
    most=1,
    completes="images",
    example="$ polyarch images\n$ polyarch images --format json",
    flags=(
        Flag(name="format", default="table", help="Format the output", choices=("table", "json")),
        Flag(name="no-trunc", kind=Kind.SWITCH, help="Don't truncate output"),
        Flag(name="quiet", short="q", kind=Kind.SWITCH, help="Only show digests"),
    ),
)


def _rmi(options: Options, context: Context) -> int:
    if options.is_set("all") == bool(options.arguments):
        raise InputError(
            "name images to remove, or give --all and no name",
            hint="polyarch images lists the names",
        )
    failed = False
    with open_store(context, works=False, frees=True) as store:
        if options.is_set("all"):
            for name in forget_images(store, PruneWish(kept=True)):
                context.print(f"Untagged: {name.familiar}")
        for pattern in options.arguments:
            try:
                names = remove_image(store, pattern)
            except NotFound as error:
                context.warn(f"Error: {error}")
                failed = True
                continue
            for name in names:
                context.print(f"Untagged: {name.familiar}")
        # What they alone had goes now, as with docker; what the build cache has too goes by its policies.
        prune(store, (), wait=True)
    if failed and not options.is_set("force"):
        raise InputError("failed to remove one or more images")
    return 0


RMI = Command(
    usage="[OPTIONS] [IMAGE...]",
    run=_rmi,
    needs_engine=True,
    most=None,
    completes="images",
    example="$ polyarch rmi registry.example/you/app:v1\n$ polyarch rmi --all",
    description="What the names alone stood for goes with them; what the build cache has, too, goes by its policies.",
    flags=(
        Flag(name="all", short="a", kind=Kind.SWITCH, help="Remove all names"),
        Flag(
            name="force", short="f", kind=Kind.SWITCH, help="Names that aren't there are no error"
        ),
    ),
)


def _tag(options: Options, context: Context) -> int:
    name, other = map(parse_reference, options.arguments)
    with open_store(context) as store:
        tag_image(store, name, other)
    return 0


TAG = Command(
    usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    run=_tag,
    least=2,
    most=2,
    completes="images",
    example="$ polyarch tag app:v1 registry.example/you/app:v1",
)
