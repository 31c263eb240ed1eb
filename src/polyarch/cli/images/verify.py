"""`verify`: whether an image is what it claims to be, and who has signed it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polyarch.attest.check import Attestations, check_attestations
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.cli.frame.store import open_store
from polyarch.cli.images.trusting import TRUST_FLAGS, find_judge
from polyarch.errors import InputError, IntegrityError, NotFound
from polyarch.golang.json import indented
from polyarch.golang.units import human_size
from polyarch.images.layout import Layout, LayoutAddress, open_layout, parse_layout
from polyarch.images.loading import LoadedImage, load_images
from polyarch.images.place import Place, Source
from polyarch.images.places import Places, open_places
from polyarch.images.store_place import Fetcher, StoreAsItIs, StorePlace
from polyarch.images.verifying import Finding, Verified, verify_image
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, ignore_events, step
from polyarch.record import asdict, frozen
from polyarch.store.store import Store

if TYPE_CHECKING:
    from polyarch.signing.verify import Judge, Vouched

__all__ = ["VERIFY"]


@frozen
class _Found:
    """Where an image is, and where its signatures; `is_partial` says that it may lack what nobody has fetched."""

    source: Source
    root: Descriptor
    signed_at: Place
    is_store: bool = False
    is_partial: bool = False


@frozen
class _Answer:
    """All that was found out; `vouched` is None if nobody asked who has signed."""

    wanted: str
    found: _Found
    result: Verified
    attestations: Attestations
    vouched: tuple[Vouched, ...] | None = None

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, signatures apart."""
        troubles = self.attestations.troubles
        more = [Finding(subject=each.digest, what=each.what) for each in troubles]
        known = {(each.subject, each.what) for each in self.result.findings}
        return [
            *self.result.findings,
            *(each for each in more if (each.subject, each.what) not in known),
        ]


def _verify(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    form = options.text("format")
    if form not in {"", "json"}:
        raise InputError(f"unknown format {form!r}", hint="use json, or leave it out")
    wanted = options.arguments[0]
    judge = find_judge(options, context.environ)
    with (
        cancel_on_signals() as cancel,
        open_store(context) as store,
        open_places(context.environ, cancel) as places,
        _place(wanted, store, places, cancel, pull=options.is_set("pull")) as found,
    ):
        answer = _answer(wanted, found, judge, store, cancel)
    context.stdout.write(_json(answer) if form else _text(answer))
    _check(answer, judge)
    return 0


def _answer(
    wanted: str, found: _Found, judge: Judge | None, store: Store, cancel: CancelToken
) -> _Answer:
    vouched = None
    if judge is not None:
        from polyarch.signing.verify import verify_signatures  # noqa: PLC0415 if somebody asks

        # First of all: what nobody has signed isn't read any further by those who ask.
        vouched = verify_signatures(found.signed_at, found.root, judge)
    scratch = store.temporary("verified")
    result = verify_image(
        found.source, found.root, scratch, partial=found.is_partial, cancel=cancel
    )
    if scratch.exists():
        store.discard(scratch)
    return _Answer(
        wanted=wanted,
        found=found,
        result=result,
        attestations=_attestations(found),
        vouched=vouched,
    )


def _attestations(found: _Found) -> Attestations:
    try:
        data = found.source.manifest(found.root)
        return check_attestations(found.source, found.root, data, partial=found.is_partial)
    except (NotFound, IntegrityError):
        # The root can't be read, which is a finding already.
        return Attestations()


def _check(answer: _Answer, judge: Judge | None) -> None:
    """Raise IntegrityError unless all is right."""
    missing = [each for each in answer.vouched or () if each.is_missing]
    if missing and judge is not None:
        reasons = [text for each in missing for text in each.refused]
        told = "; ".join(dict.fromkeys(reasons)) or "it has no signatures"
        subject = missing[0].subject
        raise IntegrityError(
            f"{answer.wanted}: the {subject.what} {subject.descriptor.digest} isn't signed by {judge.name}: {told}",
            hint="don't use it, unless you know who else has signed it",
        )
    count = len(answer.findings)
    if count and answer.found.is_store:
        raise IntegrityError(
            f"{answer.wanted} isn't what it claims to be: {count} finding{'s' if count > 1 else ''}",
            hint="'polyarch doctor --repair' removes what is damaged in the store; then build it or pull it again",
        )
    if count:
        raise IntegrityError(
            f"{answer.wanted} isn't what it claims to be: {count} finding{'s' if count > 1 else ''}",
            hint="don't use it; build it or pull it again, from a place that you trust",
        )


@contextmanager
def _place(
    wanted: str, store: Store, places: Places, cancel: CancelToken, *, pull: bool
) -> Iterator[_Found]:
    """Find the image: in a layout, in the store if it has the name, else at its registry."""
    if wanted.startswith(LAYOUT_SCHEME):
        address = parse_layout(wanted)
        if address.directory.is_file():
            yield from _archived(address, store, places, cancel)
            return
        layout = open_layout(address)
        yield _Found(source=layout, root=layout.load(address.target)[0], signed_at=layout)
        return
    name = parse_reference(wanted)
    repository = places.repository(name)
    ref = None if pull or name.digest else store.refs.find(name.canonical)
    if ref is None:
        yield _Found(source=repository, root=repository.resolve(), signed_at=repository)
        return
    root = Descriptor.from_json(json.loads(ref.descriptor))
    with step(ignore_events, f"verifying {name.canonical}") as shown:
        fetcher = Fetcher(store=store, places=places, cancel=cancel, shown=shown)
        source = StoreAsItIs(place=StorePlace(fetcher=fetcher))
        yield _Found(source=source, root=root, signed_at=repository, is_store=True, is_partial=True)


def _archived(
    address: LayoutAddress, store: Store, places: Places, cancel: CancelToken
) -> Iterator[_Found]:
    """Find the image in an archive, which is read into a store of its own. Raises IntegrityError for damaged ones."""
    scratch = store.temporary("archive")
    try:
        with Store(scratch) as own, step(ignore_events, "verifying an archive") as shown:
            with address.directory.open("rb") as stream:
                images = load_images(own, stream, cancel=cancel, keeps=False)
            fetcher = Fetcher(store=own, places=places, cancel=cancel, shown=shown)
            source = StorePlace(fetcher=fetcher, called=str(address))
            # A store has its blobs where a layout has them; signatures may be listed beside the image.
            layout = Layout(scratch)
            layout.list_entries(each.root for each in images)
            root = _one_of(images, address)
            yield _Found(source=source, root=root, signed_at=layout, is_partial=True)
    finally:
        store.discard(scratch)


def _one_of(images: Sequence[LoadedImage], address: LayoutAddress) -> Descriptor:
    """Return the image of an archive that an address means. Raises NotFound, InputError."""
    meant = [
        each.root
        for each in images
        if address.digest in {None, each.root.digest}
        and (not address.tag or any(name.tag == address.tag for name in each.names))
    ]
    if not meant:
        raise NotFound(f"{address}: the archive has no such image")
    if len(meant) > 1:
        raise InputError(
            f"{address}: the archive has {len(meant)} images",
            hint="name one of them: FILE:TAG or FILE@DIGEST",
        )
    return meant[0]


def _text(answer: _Answer) -> str:
    result, found = answer.result, answer.found
    lines = [
        f"Digest:    {result.root.digest}",
        f"Place:     {found.source.name}",
        f"Platforms: {', '.join(result.platforms) or 'none'}"
        + (f" ({result.absent} more aren't here)" if result.absent else ""),
        f"Read:      {result.layers} layers, {human_size(result.bytes)}",
        *(f"Attested:  {each.type} of {each.subject}" for each in answer.attestations.statements),
        *(line for each in answer.vouched or () for line in _signed_lines(each)),
        *(f"WRONG:     {finding}" for finding in answer.findings),
    ]
    return "".join(f"{line}\n" for line in lines)


def _signed_lines(vouched: Vouched) -> list[str]:
    subject = vouched.subject
    what = f"{subject.what} {subject.descriptor.digest}"
    if vouched.is_missing:
        return [f"UNSIGNED:  {what}"]
    return [f"Signed:    {what} by {each}" for each in vouched.by]


def _json(answer: _Answer) -> str:
    result = answer.result
    document: dict[str, object] = {
        "image": answer.wanted,
        "digest": result.root.digest,
        "place": answer.found.source.name,
        "verified": not answer.findings
        and not any(each.is_missing for each in answer.vouched or ()),
        "platforms": result.platforms,
        "absent": result.absent,
        "layers": result.layers,
        "bytes": result.bytes,
        "attestations": [asdict(each) for each in answer.attestations.statements],
        "findings": [asdict(finding) for finding in answer.findings],
    }
    if answer.vouched is not None:
        document["signatures"] = [_signed(each) for each in answer.vouched]
    return indented(document).decode() + "\n"


def _signed(vouched: Vouched) -> dict[str, object]:
    return {
        "digest": vouched.subject.descriptor.digest,
        "what": vouched.subject.what,
        "signed": bool(vouched.by),
        "by": [
            {name: value for name, value in asdict(each).items() if value} for each in vouched.by
        ],
        "refused": vouched.refused,
    }


VERIFY = Command(
    usage="[OPTIONS] IMAGE",
    run=_verify,
    least=1,
    most=1,
    completes="images",
    example=(
        "$ polyarch verify app:v1\n"
        "$ polyarch verify --pull --key cosign.pub registry.example/you/app:v1\n"
        "$ polyarch verify --format json oci-layout://app"
    ),
    description=(
        "Reads every document and layer, and recomputes digests, sizes, diff IDs, numbers of layers, compressions\n"
        "and platforms, down to the program that the image starts, and looks whether attestations are about the\n"
        "images that they stand beside. With a key or an identity it has to be signed by that, too. The image is that of the\n"
        "local store, if it has the name, else that of its registry. The exit status is 0 if all is so."
    ),
    flags=(
        AUTHORITIES,
        *TRUST_FLAGS,
        Flag(name="format", help="Format the output", choices=("json",)),
        Flag(name="pull", kind=Kind.SWITCH, help="Verify what the registry has, in any case"),
    ),
)
