"""`docker images`, `docker image ls` and `docker inspect`, of the images of the local store, in docker's form."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import cast

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.store import open_store
from polyarch.cli.frame.table import parse_format
from polyarch.cli.images.images import created_seconds, matching
from polyarch.digest import hex_of
from polyarch.errors import InputError, NotFound
from polyarch.golang.json import indented
from polyarch.golang.template.template import parse_template
from polyarch.golang.template.values import Value
from polyarch.golang.units import human_duration, human_size
from polyarch.images.local import StoredImage, image_parts, list_images
from polyarch.platforms import host
from polyarch.store.store import Store

__all__ = ["IMAGES", "INSPECT"]

_COLUMNS = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_WITH_DIGESTS = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_TITLES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
}
_SHORT = 12


def _images(options: Options, context: Context) -> int:
    with open_store(context, works=False) as store:
        images: Iterable[StoredImage] = list_images(store)
        if options.arguments:
            images = matching(images, options.arguments[0])
        for text in options.values("filter"):
            images = _filtered(store, list(images), text)
    listed = sorted(images, key=created_seconds, reverse=True)
    is_whole = options.is_set("no-trunc")
    if options.is_set("quiet"):
        lines = (_row(image, is_whole=is_whole)["ID"] for image in listed)
        context.stdout.write("".join(f"{line}\n" for line in dict.fromkeys(lines)))
        return 0
    columns = _WITH_DIGESTS if options.is_set("digests") else _COLUMNS
    form = parse_format(options.text("format"), default=columns)
    rows = [_row(image, is_whole=is_whole) for image in listed]
    context.stdout.write(form.render(rows, titles=_TITLES, record="*formatter.imageContext"))
    return 0


def _row(image: StoredImage, *, is_whole: bool) -> dict[str, Value]:
    digest, created = image.root.digest, created_seconds(image)
    return {
        "Repository": image.name.familiar_name,
        "Tag": image.name.tag or "<none>",
        "Digest": digest,
        "ID": digest if is_whole else hex_of(digest)[:_SHORT],
        "CreatedSince": f"{human_duration(max(0.0, time.time() - created))} ago",
        "CreatedAt": image.created,
        "Size": human_size(image.size),
    }


def _filtered(store: Store, images: list[StoredImage], text: str) -> list[StoredImage]:
    name, equals, value = text.partition("=")
    if name == "dangling" and equals:
        # Names of the local store always have one.
        return [] if value.lower() in {"1", "true"} else images
    predicates: dict[str, Callable[[StoredImage, str], bool]] = {
        "reference": _is_called,
        "label": partial(_has_label, store),
    }
    is_wanted = predicates.get(name if equals else "")
    if is_wanted is None:
        raise InputError(f"invalid filter '{name}'", hint="there are dangling, label and reference")
    return [image for image in images if is_wanted(image, value)]


def _is_called(image: StoredImage, pattern: str) -> bool:
    names = (image.name.familiar_name, image.name.familiar)
    return any(fnmatchcase(name, pattern) for name in names)


def _has_label(store: Store, image: StoredImage, text: str) -> bool:
    """Whether a platform of an image has the label `NAME` or `NAME=VALUE`."""
    name, has_value, wanted = text.partition("=")
    all_labels = (config.run.labels for _, _, config in image_parts(store, image.root))
    return any(
        name in labels and (not has_value or labels[name] == wanted) for labels in all_labels
    )


# --- one image ---


def _inspect(options: Options, context: Context) -> int:
    if options.text("type") not in {"", "image"}:
        raise InputError(f"there are no {options.text('type')}s here", hint="--type image")
    found: list[Value] = []
    missing = []
    with open_store(context, works=False) as store:
        images = list_images(store)
        for pattern in options.arguments:
            named = matching(images, pattern)
            fields = _fields(store, named, images) if named else None
            if fields is None:
                missing.append(pattern)
            else:
                found.append(fields)
    if form := options.text("format"):
        template = parse_template("{{json .}}" if form == "json" else form)
        for each in found:
            context.print(template.render(each, record="image"))
    else:
        context.print(indented(found).decode())
    if missing:
        raise NotFound(f"No such object: {missing[0]}", hint="docker images lists the images")
    return 0


def _fields(
    store: Store, named: list[StoredImage], images: Iterable[StoredImage]
) -> dict[str, Value] | None:
    """Return what docker tells of an image: of this machine's platform, if it has that, else of its first."""
    image = named[0]
    parts = list(image_parts(store, image.root))
    if not parts:
        return None
    mine = host().architecture
    _, manifest, config = next(
        (part for part in parts if part[2].platform.architecture == mine), parts[0]
    )
    same = [each.name for each in images if each.root.digest == image.root.digest]
    document = cast("Mapping[str, Value]", config.to_json())
    layers: list[Value] = list(config.diff_ids)
    return {
        "Id": image.root.digest,
        "RepoTags": [name.familiar for name in same if name.tag],
        "RepoDigests": list(
            dict.fromkeys(f"{name.familiar_name}@{image.root.digest}" for name in same)
        ),
        "Comment": "",
        "Created": config.created,
        "Author": document.get("author", ""),
        "Architecture": config.platform.architecture,
        "Variant": config.platform.variant,
        "Os": config.platform.os,
        "Size": sum(layer.size for layer in manifest.layers),
        "Config": document.get("config", {}),
        "RootFS": {"Type": "layers", "Layers": layers},
        "Descriptor": cast("dict[str, Value]", image.root.to_json()),
    }


IMAGES = Command(
    usage="[OPTIONS] [REPOSITORY[:TAG]]",
    run=_images,
    most=1,
    completes="images",
    example="$ docker images -q app",
    flags=(
        Flag(name="all", short="a", kind=Kind.SWITCH, help="Show all images (all always are)"),
        Flag(name="digests", kind=Kind.SWITCH, help="Show digests"),
        Flag(name="filter", short="f", kind=Kind.LIST, help="Filter output"),
        Flag(name="format", default="table", help="Format output using a custom template"),
        Flag(name="no-trunc", kind=Kind.SWITCH, help="Don't truncate output"),
        Flag(name="quiet", short="q", kind=Kind.SWITCH, help="Only show image IDs"),
    ),
)
INSPECT = Command(
    usage="[OPTIONS] IMAGE [IMAGE...]",
    run=_inspect,
    least=1,
    most=None,
    completes="images",
    example="$ docker image inspect --format '{{.Architecture}}' app",
    flags=(
        Flag(name="format", short="f", help="Format output using a custom template"),
        Flag(name="type", help="Only inspect objects of the given type"),
    ),
)
