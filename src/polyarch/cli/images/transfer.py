"""`pull` and `push`: images between the local store and registries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.cli.display.base import Caption, Display
from polyarch.cli.display.display import open_display
from polyarch.cli.display.flag import PROGRESS
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.network import AUTHORITIES, OFFLINE, with_authorities, with_network
from polyarch.cli.frame.store import open_store
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.images.local import pull_image, push_image
from polyarch.images.places import open_places
from polyarch.images.tally import Pushed
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, host, parse_list

__all__ = ["PULL", "PUSH"]

_QUIET = Flag(name="quiet", short="q", kind=Kind.SWITCH, help="Suppress verbose output")


@contextmanager
def _display(options: Options, context: Context, work: str) -> Iterator[Display]:
    mode = "quiet" if options.is_set("quiet") else options.text("progress")
    with open_display(
        mode,
        stream=context.stderr,
        environ=context.environ,
        caption=Caption(work=work),
        debug=context.debug,
    ) as display:
        yield display


def _platforms(options: Options, context: Context) -> tuple[Platform, ...]:
    """Return the platforms to pull; none for all."""
    chosen = options.values("platform")
    if options.is_set("all-platforms"):
        if chosen:
            raise InputError("--platform and --all-platforms cannot be used together")
        return ()
    default = context.environ.get("DOCKER_DEFAULT_PLATFORM", "")
    return parse_list(chosen or filter(None, (default,))) or (host(),)


def _pull(options: Options, context: Context) -> int:
    context = with_network(options, context)
    name = parse_reference(options.arguments[0])
    platforms = _platforms(options, context)
    with (
        cancel_on_signals() as cancel,
        open_store(context) as store,
        open_places(context.environ, cancel) as places,
        _display(options, context, "Pulling") as display,
    ):
        root = pull_image(store, places, name, platforms, sink=display, cancel=cancel)
    context.print(f"{name.repository}@{root.digest}")
    return 0


PULL = Command(
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    run=_pull,
    least=1,
    most=1,
    example=(
        "$ polyarch pull alpine\n$ polyarch pull --platform linux/arm64,linux/arm/v7 alpine:3.20"
    ),
    flags=(
        Flag(
            name="platform",
            kind=Kind.LIST,
            help="Platforms to fetch (default: that of this machine)",
            completes="platforms",
        ),
        AUTHORITIES,
        OFFLINE,
        Flag(name="all-platforms", short="a", kind=Kind.SWITCH, help="Fetch all platforms"),
        PROGRESS,
        _QUIET,
    ),
)


def _push(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    form = options.text("format")
    if form not in {"", "json"}:
        raise InputError(f"unknown format {form}", hint="--format json, or nothing for the digest")
    name = parse_reference(options.arguments[0])
    with (
        cancel_on_signals() as cancel,
        open_store(context) as store,
        open_places(context.environ, cancel) as places,
        _display(options, context, "Pushing") as display,
    ):
        pushed = push_image(store, places, name, sink=display, cancel=cancel)
    record = indented(_record(name, pushed)).decode() if form else ""
    context.print(record or f"{name.repository}@{pushed.root.digest}")
    return 0


def _record(name: Reference, pushed: Pushed) -> dict[str, object]:
    shares = {"Uploaded": pushed.uploaded, "Mounted": pushed.mounted, "Skipped": pushed.skipped}
    return {
        "Name": str(name),
        "Digest": pushed.root.digest,
        **{key: {"Blobs": each.blobs, "Bytes": each.bytes} for key, each in shares.items()},
    }


PUSH = Command(
    usage="[OPTIONS] NAME[:TAG]",
    run=_push,
    least=1,
    most=1,
    completes="images",
    example="$ polyarch push registry.example/you/app:v1",
    flags=(
        AUTHORITIES,
        Flag(name="format", help="json for what was uploaded, mounted and there already"),
        PROGRESS,
        _QUIET,
    ),
)
