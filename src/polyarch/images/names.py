"""How images are named: at a registry, in a layout, or, where several are joined, by a digest alone.

alpine:3.20                     a name at a registry
oci-layout://DIRECTORY[:TAG][@DIGEST]
sha256:...                      a digest, in the only place that is named
{"digest": "sha256:...", ...}   a descriptor; what it says wins over what the place says
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from polyarch.digest import Digest, parse_digest
from polyarch.errors import InputError, IntegrityError, InvalidDigest
from polyarch.golang.strconv import quote
from polyarch.images.layout import LayoutAddress, parse_layout
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import frozen, replace

__all__ = ["LayoutName", "Name", "RegistryName", "Source", "parse_name", "parse_sources"]

_LATEST = "latest"


@frozen
class LayoutName:
    """An image in a layout."""

    address: LayoutAddress

    def __str__(self) -> str:
        return str(self.address) if self.digest else f"{self.place}:{self.target}"

    @property
    def target(self) -> str:
        """What the place is asked for: a digest, or a tag."""
        return self.address.target

    @property
    def tag(self) -> str:
        """The tag that an image gets by the name; a name by digest gives none."""
        return "" if self.digest else self.target

    @property
    def digest(self) -> Digest | None:
        """The digest that is given."""
        return self.address.digest

    @property
    def place(self) -> str:
        """The name of the place: the layout's address."""
        return f"{LAYOUT_SCHEME}{self.short}"

    @property
    def short(self) -> str:
        """The place as people call it: the directory."""
        return str(self.address.directory)

    def with_digest(self, digest: Digest) -> LayoutName:
        """Return the name of something else in the layout."""
        return LayoutName(address=replace(self.address, tag="", digest=digest))


@frozen
class RegistryName:
    """An image at a registry."""

    reference: Reference

    def __str__(self) -> str:
        return self.reference.canonical

    @property
    def target(self) -> str:
        """What the place is asked for: a digest, or a tag."""
        return self.reference.target

    @property
    def tag(self) -> str:
        """The tag that an image gets by the name; "" where only a digest is given."""
        return self.reference.tag or ("" if self.reference.digest else _LATEST)

    @property
    def digest(self) -> Digest | None:
        """The digest that is given."""
        return self.reference.digest

    @property
    def place(self) -> str:
        """The name of the place: the repository, `domain/path`."""
        return self.reference.repository

    @property
    def short(self) -> str:
        """The place as people call it: the repository."""
        return self.reference.repository

    def with_digest(self, digest: Digest) -> RegistryName:
        """Return it with a digest in place of its own, the tag kept."""
        return RegistryName(reference=replace(self.reference, tag=self.tag, digest=digest))


Name = RegistryName | LayoutName


@frozen
class Source:
    """One of several images to be joined: where it is, and what the user says of it in a descriptor."""

    name: Name
    told: Descriptor | None = None


def parse_name(text: str) -> Name:
    """Read a name at a registry or in a layout. Raises InvalidReference, InvalidDigest, InputError."""
    if text.startswith(LAYOUT_SCHEME):
        return LayoutName(address=parse_layout(text))
    return RegistryName(reference=parse_reference(text))


def parse_sources(texts: Iterable[str], tags: Sequence[Name]) -> tuple[Source, ...]:
    """Read the sources; digests are completed by the only repository. Raises InputError."""
    told = tuple(texts)
    parsed = [_parsed(text) for text in told]
    names = [*(each for each in parsed if not isinstance(each, Descriptor)), *tags]
    if not names:
        raise InputError("no repositories specified, please set a reference in tag or source")
    places = {each.place: each for each in reversed(names)}
    return tuple(
        _completed(each, text, list(places.values()))
        if isinstance(each, Descriptor)
        else Source(name=each)
        for each, text in zip(parsed, told, strict=True)
    )


def _completed(told: Descriptor, text: str, places: Sequence[Name]) -> Source:
    if len(places) > 1:
        raise InputError(
            f"multiple repositories specified, cannot infer repository for {quote(text)}"
        )
    return Source(name=places[0].with_digest(told.digest), told=told)


def _parsed(text: str) -> Name | Descriptor:
    try:
        return _parse(text)
    except InputError as error:
        raise InputError(
            f"failed to parse source {quote(text)}, valid sources are digests, references and "
            f"descriptors: {error}"
        ) from error


def _parse(text: str) -> Name | Descriptor:
    text = text.strip()
    if text.startswith("{"):
        return _from_json(text)
    try:
        return Descriptor(media_type="", digest=parse_digest(text), size=0)
    except InvalidDigest:
        if text.startswith("sha256"):
            raise
        return parse_name(text)


def _from_json(text: str) -> Descriptor:
    try:
        fields = json.loads(text)
        if version := fields.get("schemaVersion"):
            raise InputError(
                "expected an OCI content descriptor, got a manifest or index "
                f"(schemaVersion {version})"
            )
        if not fields.get("digest"):
            raise InputError("invalid descriptor: digest is required")
        # A size may be left out here, as the registry knows it.
        return Descriptor.from_fields(Fields({"size": 0, **fields}))
    except InvalidDigest as error:
        raise InputError(f"invalid descriptor digest: {error}") from error
    except (IntegrityError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"this is no descriptor: {error}") from error
