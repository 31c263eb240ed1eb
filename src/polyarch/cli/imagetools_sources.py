"""What `imagetools` is told: names at registries and in folders, digests, descriptors.

alpine:3.20                     a name at a registry
sha256:...                      a digest, in the only repository that is named
{"digest": "sha256:...", ...}   a descriptor; what it says wins over what the registry says
oci-layout://FOLDER[:tag|@digest]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polyarch.digest import Digest, parse_digest
from polyarch.errors import InputError, IntegrityError, InvalidDigest
from polyarch.golang.strconv import quote
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference

__all__ = [
    "LAYOUT",
    "LayoutName",
    "Name",
    "RegistryName",
    "Source",
    "parse_name",
    "parse_sources",
]

LAYOUT = "oci-layout://"
_LATEST = "latest"
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}\Z")
_TAG = re.compile(r"\w[\w.-]{0,127}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutName:
    """An image in a folder, by tag or by digest."""

    folder: Path
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        """Write it as it is typed."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{LAYOUT}{self.folder}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def place(self) -> str:
        """The folder, told apart from a repository."""
        return f"{LAYOUT}{self.folder}"

    @property
    def short(self) -> str:
        """The place as people call it: the folder."""
        return str(self.folder)

    def with_digest(self, digest: Digest) -> LayoutName:
        """Return the name of something else in the folder."""
        return LayoutName(folder=self.folder, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryName:
    """An image at a registry."""

    reference: Reference

    def __str__(self) -> str:
        """Write it in full."""
        return self.reference.canonical

    @property
    def tag(self) -> str:
        """The tag, "" where only a digest is given."""
        return self.reference.tag or ("" if self.reference.digest else _LATEST)

    @property
    def digest(self) -> Digest | None:
        """The digest that is given."""
        return self.reference.digest

    @property
    def place(self) -> str:
        """The repository, `domain/path`."""
        return self.reference.repository

    @property
    def short(self) -> str:
        """The place as people call it: the repository."""
        return self.reference.repository

    def with_digest(self, digest: Digest) -> RegistryName:
        """Return it with a digest in place of its own, the tag kept."""
        return RegistryName(reference=replace(self.reference, tag=self.tag, digest=digest))


Name = RegistryName | LayoutName


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source: where it is, and what the user says of it in a descriptor."""

    name: Name
    told: Descriptor | None = None


def parse_name(text: str) -> Name:
    """Read a name at a registry or in a folder. Raises InvalidReference, InvalidDigest."""
    if not text.startswith(LAYOUT):
        return RegistryName(reference=parse_reference(text))
    path, digest, tag = text.removeprefix(LAYOUT), None, ""
    before, at, after = path.rpartition("@")
    if at and _DIGEST.match(after):
        path, digest = before, parse_digest(after)
    before, colon, after = path.rpartition(":")
    if colon and _TAG.match(after):
        path, tag = before, after
    return LayoutName(folder=Path(path), tag=tag or ("" if digest else _LATEST), digest=digest)


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
