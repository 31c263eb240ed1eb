"""`verify`: whether an image is what it claims to be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.cli.frame.store import open_store
from polyarch.errors import InputError, IntegrityError
from polyarch.golang.json import indented
from polyarch.golang.units import human_size
from polyarch.images.layout import open_layout, parse_layout
from polyarch.images.place import Source
from polyarch.images.places import Places, open_places
from polyarch.images.store_place import Fetcher, StorePlace
from polyarch.images.verifying import Verified, verify_image
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, ignore_events, step
from polyarch.record import asdict, frozen
from polyarch.store.store import Store

__all__ = ["VERIFY"]


@frozen
class _Found:
    """Where an image is; `is_store` says that it may lack platforms that nobody has fetched."""

    source: Source
    root: Descriptor
    is_store: bool = False


def _verify(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    form = options.text("format")
    if form not in {"", "json"}:
        raise InputError(f"unknown format {form!r}", hint="use json, or leave it out")
    wanted = options.arguments[0]
    with (
        cancel_on_signals() as cancel,
        open_store(context) as store,
        open_places(context.environ, cancel) as places,
        _place(wanted, store, places, cancel, pull=options.is_set("pull")) as found,
    ):
        scratch = store.temporary("verified")
        result = verify_image(
            found.source, found.root, scratch, partial=found.is_store, cancel=cancel
        )
        if scratch.exists():
            store.discard(scratch)
    context.stdout.write(_json(wanted, found, result) if form else _text(found, result))
    if result.findings:
        count = len(result.findings)
        raise IntegrityError(
            f"{wanted} isn't what it claims to be: {count} finding{'s' if count > 1 else ''}",
            hint="don't use it; build it or pull it again, from a place that you trust",
        )
    return 0


@contextmanager
def _place(
    wanted: str, store: Store, places: Places, cancel: CancelToken, *, pull: bool
) -> Iterator[_Found]:
    """Find the image: in a layout, in the store if it has the name, else at its registry."""
    if wanted.startswith(LAYOUT_SCHEME):
        address = parse_layout(wanted)
        layout = open_layout(address)
        yield _Found(source=layout, root=layout.load(address.target)[0])
        return
    name = parse_reference(wanted)
    ref = None if pull or name.digest else store.refs.find(name.canonical)
    if ref is None:
        repository = places.repository(name)
        yield _Found(source=repository, root=repository.resolve())
        return
    root = Descriptor.from_json(json.loads(ref.descriptor))
    with step(ignore_events, f"verifying {name.canonical}") as shown:
        fetcher = Fetcher(store=store, places=places, cancel=cancel, shown=shown)
        yield _Found(source=StorePlace(fetcher=fetcher), root=root, is_store=True)


def _text(found: _Found, result: Verified) -> str:
    lines = [
        f"Digest:    {result.root.digest}",
        f"Place:     {found.source.name}",
        f"Platforms: {', '.join(result.platforms) or 'none'}"
        + (f" ({result.absent} more aren't here)" if result.absent else ""),
        f"Read:      {result.layers} layers, {human_size(result.bytes)}",
        *(f"WRONG:     {finding}" for finding in result.findings),
    ]
    return "".join(f"{line}\n" for line in lines)


def _json(wanted: str, found: _Found, result: Verified) -> str:
    document = {
        "image": wanted,
        "digest": result.root.digest,
        "place": found.source.name,
        "verified": not result.findings,
        "platforms": result.platforms,
        "absent": result.absent,
        "layers": result.layers,
        "bytes": result.bytes,
        "findings": [asdict(finding) for finding in result.findings],
    }
    return indented(document).decode() + "\n"


VERIFY = Command(
    usage="[OPTIONS] IMAGE",
    run=_verify,
    least=1,
    most=1,
    completes="images",
    example=(
        "$ polyarch verify app:v1\n"
        "$ polyarch verify --pull registry.example/you/app:v1\n"
        "$ polyarch verify --format json oci-layout://app"
    ),
    description=(
        "Reads every document and layer, and recomputes digests, sizes, diff IDs, numbers of layers, compressions\n"
        "and platforms, down to the program that the image starts. The image is that of the local store, if it\n"
        "has the name, else that of its registry. The exit status is 0 if all is so."
    ),
    flags=(
        AUTHORITIES,
        Flag(name="format", help="Format the output", choices=("json",)),
        Flag(name="pull", kind=Kind.SWITCH, help="Verify what the registry has, in any case"),
    ),
)
