"""`save` and `load`: images between the local store and archives."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.store import open_store
from polyarch.errors import InputError
from polyarch.exporter.outfile import write_output
from polyarch.images.loading import LoadedImage, load_directory, load_images
from polyarch.images.local import keep_image
from polyarch.images.places import open_places
from polyarch.images.saving import collect_image, save_images
from polyarch.images.store_place import Fetcher, StorePlace
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import parse_list
from polyarch.progress import ignore_events, step

__all__ = ["LOAD", "SAVE"]

_FORMATS = ("docker", "oci")


def _save(options: Options, context: Context) -> int:
    destination = options.text("output")
    if not destination and sys.stdout.isatty():
        raise InputError(
            "cowardly refusing to save to a terminal",
            hint="use the -o flag, or redirect the output",
        )
    chosen = options.text("format")
    if chosen not in _FORMATS:
        raise InputError(f"unknown format {chosen!r}", hint=f"use {' or '.join(_FORMATS)}")
    platforms = parse_list(options.values("platform"))
    names = [parse_reference(text) for text in options.arguments]
    with (
        cancel_on_signals() as cancel,
        open_store(context) as store,
        open_places(context.environ, cancel) as places,
        step(ignore_events, "saving images") as shown,
    ):
        source = StorePlace(fetcher=Fetcher(store=store, places=places, cancel=cancel, shown=shown))
        images = [collect_image(source, name, platforms) for name in names]
        for_docker = chosen == "docker"
        write_output(
            destination, lambda sink: save_images(source, images, sink, for_docker=for_docker)
        )
    return 0


SAVE = Command(
    usage="[OPTIONS] IMAGE [IMAGE...]",
    run=_save,
    least=1,
    most=None,
    completes="images",
    example=(
        "$ polyarch save -o app.tar app:v1 app:v2\n"
        "$ polyarch save --platform linux/arm64 app | ssh host docker load"
    ),
    description=(
        "The archive is an OCI layout with all platforms that are here. docker load and podman load take it,\n"
        "too; those that know no layouts get the platform of this machine."
    ),
    flags=(
        Flag(
            name="format",
            default="docker",
            help='Format of the archive ("oci" leaves out the file that older programs load by)',
            choices=_FORMATS,
        ),
        Flag(name="output", short="o", help="Write to a file, instead of STDOUT"),
        Flag(
            name="platform",
            kind=Kind.LIST,
            help="Save only these platforms of the images",
            completes="platforms",
        ),
    ),
)


def _check_names(images: Sequence[LoadedImage], names: Sequence[Reference]) -> None:
    """Raise InputError if it isn't clear which name which image has."""
    nameless = [image for image in images if not image.names]
    if names and len(images) != 1:
        raise InputError(f"the archive has {len(images)} images, and -t names one")
    if nameless and not names:
        raise InputError(
            f"the archive has no name for {nameless[0].root.digest}", hint="name it with -t"
        )


def _load(options: Options, context: Context) -> int:
    names = [parse_reference(text) for text in options.values("tag")]
    with (
        cancel_on_signals() as cancel,
        open_store(context) as store,
    ):
        path = options.text("input")
        if os.path.isdir(path):
            images = load_directory(store, path, cancel=cancel)
        else:
            with _input(path) as stream:
                images = load_images(store, stream, cancel=cancel)
        _check_names(images, names)
        for name in names:
            keep_image(store, name, images[0].root)
    if not options.is_set("quiet"):
        for image in images:
            context.stdout.write("".join(f"{line}\n" for line in _loaded(image, names)))
    return 0


def _loaded(image: LoadedImage, names: list[Reference]) -> list[str]:
    shown = dict.fromkeys((*image.names, *names))
    return [f"Loaded image: {name.familiar_name}:{name.tag or 'latest'}" for name in shown]


@contextmanager
def _input(path: str) -> Iterator[BinaryIO]:
    if path in {"", "-"}:
        if sys.stdin.isatty():
            raise InputError(
                "requested load from stdin, but stdin is empty", hint="use the -i flag"
            )
        yield sys.stdin.buffer
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"open {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        yield stream


LOAD = Command(
    usage="[OPTIONS]",
    run=_load,
    example=(
        "$ polyarch load -i app.tar\n"
        "$ docker save app | polyarch load\n"
        "$ polyarch load -i layout.tar -t app:v1"
    ),
    description=(
        "Takes what polyarch save, docker save, podman save and skopeo write, compressed or not, with all\n"
        "platforms that are in it."
    ),
    flags=(
        Flag(
            name="input",
            short="i",
            help="Read from tar archive file, or a directory with an image layout, instead of STDIN",
        ),
        Flag(name="quiet", short="q", kind=Kind.SWITCH, help="Suppress the load output"),
        Flag(
            name="tag", short="t", kind=Kind.LIST, help="Name the image, of an archive that has one"
        ),
    ),
)
