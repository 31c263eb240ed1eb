"""What outputs ask for: their attributes and names, read and checked before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import BinaryIO, Protocol

from polyarch.errors import InputError, InvalidReference
from polyarch.exporter.annotations import INDEX, INDEX_DESCRIPTOR, Annotations
from polyarch.golang.strconv import parse_bool, parse_int, quote
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.record import frozen
from polyarch.request.outputs import is_pushed
from polyarch.request.values import Output, OutputType
from polyarch.text.epoch import parse_epoch
from polyarch.text.nearest import suggestion

__all__ = [
    "FILE_TYPES",
    "IMAGE_TYPES",
    "EngineKind",
    "Engines",
    "Forms",
    "ImageEngine",
    "annotations_of",
    "check_outputs",
    "epoch_of",
    "is_for_engine",
    "is_known",
    "is_loaded_whole",
    "is_true",
    "names_of",
    "parse_name",
    "step_name",
]

_KNOWN = tuple(OutputType)
IMAGE_TYPES = frozenset({OutputType.DOCKER, OutputType.IMAGE, OutputType.OCI, OutputType.REGISTRY})
FILE_TYPES = frozenset({OutputType.LOCAL, OutputType.TAR})
_IMAGE_ATTRIBUTES = frozenset(
    {
        "name", "push", "push-by-digest", "store", "unpack", "name-canonical", "dangling-name-prefix",
        "danging-name-empty-only", "compression", "compression-level", "force-compression", "oci-mediatypes",
        "oci-artifact", "prefer-nondist-layers", "registry.insecure", "tar", "attestation-inline",
        "source-date-epoch", "rewrite-timestamp", "compatibility-version", "context",
    }
)  # fmt: skip
_FILE_ATTRIBUTES = frozenset({"mode", "platform-split", "attestation-prefix", "source-date-epoch"})
_IGNORED = frozenset({"buildinfo", "buildinfo-attrs"})
"""What old versions of BuildKit had; newer ones pass over it, and scripts still say it."""
_TRUE_IF_EMPTY = frozenset(
    {
        "push", "push-by-digest", "registry.insecure", "unpack", "store", "name-canonical",
        "danging-name-empty-only", "tar", "force-compression",
    }
)  # fmt: skip
_NON_BOOL = {
    "force-compression": "{text} specified for {key}",
    "platform-split": "for {key}: {text}",
}
_BOOLS = _TRUE_IF_EMPTY | {
    *("oci-mediatypes", "oci-artifact", "prefer-nondist-layers", "attestation-inline"),
    *("rewrite-timestamp", "platform-split"),
}


class EngineKind(StrEnum):
    """What an engine keeps under one name."""

    INDEXES = "indexes"
    """An index as it is: docker with containerd's store."""
    SINGLE = "single"
    """The image of one platform: docker without it."""
    LISTS = "lists"
    """A manifest list that is made of images which are there: podman."""


class ImageEngine(Protocol):
    """What images are loaded into: docker's engine, or podman."""

    @property
    def name(self) -> str:
        """What people call it, its kind first."""

    def kind(self) -> EngineKind:
        """Tell what it keeps under one name."""

    def platform(self) -> Platform:
        """Return what it runs by itself."""

    def load(self, archive: BinaryIO, size: int) -> str:
        """Give it an archive of `size` bytes; return the ID of the image, "" where it names several by itself."""

    def give_names(self, names: Sequence[Reference], images: Sequence[str]) -> None:
        """Let names stand for images that it has, by their IDs."""


Engines = Mapping[str, ImageEngine]
"""Engines by docker's contexts; those of outputs that are to be loaded, where there are any."""


def is_for_engine(output: Output) -> bool:
    """Tell whether an output is for docker's engine, as `--load` is."""
    return output.type == OutputType.DOCKER and not output.destination


def names_of(output: Output) -> tuple[Reference, ...]:
    """Return the names that an output gives to its image. Raises InvalidReference."""
    names = map(str.strip, output.attributes.get("name", "").split(","))
    return tuple(parse_name(name) for name in names if name)


def parse_name(text: str) -> Reference:
    """Read a name of an image. Raises InvalidReference."""
    try:
        return parse_reference(text)
    except InvalidReference as error:
        message = f"failed to parse ref {quote(text)}: {error}"
        raise InvalidReference(message, hint=error.hint) from error


def is_loaded_whole(outputs: Iterable[Output], engines: Engines) -> bool:
    """Tell whether one of the outputs goes to an engine that keeps what it is given as it is. Raises MachineError."""
    wanted = {each.attributes.get("context", "") for each in outputs if is_for_engine(each)}
    found = (engines[context] for context in wanted & engines.keys())
    return any(engine.kind() is EngineKind.INDEXES for engine in found)


def is_true(output: Output, key: str, *, default: bool = False) -> bool:
    """Read a bool attribute. Raises InputError."""
    text = output.attributes.get(key)
    if text is None:
        return default
    if not text and key in _TRUE_IF_EMPTY:
        return True
    try:
        return parse_bool(text)
    except InputError as error:
        said = _NON_BOOL.get(key, "specified for {key}").format(key=key, text=text)
        message = f"non-bool value {said}: {error}"
        raise InputError(message, hint="write true or false") from error


def epoch_of(output: Output, epoch: int | None) -> int | None:
    """Return the latest time, in seconds, of what is new in an output: its own or that of the build, none for "".

    Raises InputError.
    """
    text = output.attributes.get("source-date-epoch")
    if not text:
        return epoch if text is None else None
    try:
        seconds = parse_int(text)
    except InputError as error:
        raise InputError(
            f"invalid source-date-epoch: {error}", hint="give whole seconds since 1970"
        ) from error
    return parse_epoch(str(seconds))


def annotations_of(output: Output, *, is_index: bool) -> Annotations:
    """Return the annotations that an output asks for. Raises InputError, InvalidPlatform."""
    found = Annotations.parse(output.attributes)
    if not is_index and (found.find(INDEX) or found.find(INDEX_DESCRIPTOR)):
        raise InputError(
            "index annotations not supported for single platform export",
            hint="annotate the manifest, or build for several platforms",
        )
    return found


@frozen
class Forms:
    """What is to be exported: of which platforms; whether as an index even of one; whether with attestations.

    `is_attested_inline` says that there are some of images alone.
    """

    platforms: tuple[Platform, ...]
    is_index: bool = False
    is_attested: bool = False
    is_attested_inline: bool = False

    @property
    def is_list(self) -> bool:
        """Whether the result has several manifests."""
        return len(self.platforms) > 1 or self.is_attested

    def makes_index(self, output: Output) -> bool:
        """Tell whether an output is an index."""
        is_image = output.type in {OutputType.IMAGE, OutputType.REGISTRY}
        return self.is_index or self.is_list or (self.is_attested_inline and is_image)


def check_outputs(outputs: Sequence[Output], forms: Forms) -> None:
    """Refuse, before anything is built, what can't be exported. Raises InputError."""
    for output in outputs:
        _check(output, forms)
        # Files have nothing to hang annotations on: as in BuildKit, they pass over those for all outputs.
        if output.type in IMAGE_TYPES:
            found = annotations_of(output, is_index=forms.makes_index(output))
            found.check_platforms(forms.platforms)


def _check(output: Output, forms: Forms) -> None:
    if output.type not in _KNOWN:
        near = suggestion(output.type, _KNOWN)
        raise InputError(
            f"exporter {quote(output.type)} could not be found{near}",
            hint="use one of " + ", ".join(_KNOWN),
        )
    _check_attributes(output)
    _check_place(output, forms)


def is_known(kind: str, name: str) -> bool:
    """Tell whether outputs of a kind have an attribute of this name."""
    known = _IMAGE_ATTRIBUTES if kind in IMAGE_TYPES else _FILE_ATTRIBUTES
    # Files have nothing to hang annotations on: as in buildx.
    return name in known or name in _IGNORED or name.startswith("annotation")


def _check_attributes(output: Output) -> None:
    """Raise InputError for an attribute that isn't known, or can't be what it is."""
    known = _IMAGE_ATTRIBUTES if output.type in IMAGE_TYPES else _FILE_ATTRIBUTES
    unknown = sorted(name for name in output.attributes if not is_known(output.type, name))
    if unknown and output.type != OutputType.CACHEONLY:
        raise InputError(
            f"output type={output.type} has no attribute {unknown[0]!r}{suggestion(unknown[0], known)}",
            hint="leave it out",
        )
    for name in _BOOLS & set(output.attributes):
        is_true(output, name)
    if is_true(output, "rewrite-timestamp") and is_true(output, "unpack"):
        raise InputError(
            'exporter option "rewrite-timestamp" conflicts with "unpack"',
            hint="leave one of them out",
        )
    epoch_of(output, None)


def _check_place(output: Output, forms: Forms) -> None:
    """Raise InputError if the output can't go where it shall."""
    names = names_of(output) if output.type in IMAGE_TYPES else ()
    goes_to_registry = is_pushed(output)
    if goes_to_registry and is_true(output, "push-by-digest"):
        _check_untagged(names)
    if goes_to_registry and not names and not output.attributes.get("dangling-name-prefix"):
        raise InputError("tag is needed when pushing to registry", hint="name one with -t")
    if output.type == OutputType.DOCKER and output.destination and forms.is_list:
        raise InputError(
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
            hint="build for one platform and without attestations, or use type=oci",
        )


def _check_untagged(names: Sequence[Reference]) -> None:
    for name in names:
        if name.tag or name.digest:
            raise InputError(
                f"can't push tagged ref {name.canonical} by digest",
                hint="leave the tag out, or push-by-digest",
            )


def step_name(output: Output) -> str:
    """Return the name of the step that an output is shown as."""
    if output.type in FILE_TYPES:
        target = "client directory" if output.type == OutputType.LOCAL else "client tarball"
    elif output.type in {OutputType.OCI, OutputType.DOCKER} and not is_for_engine(output):
        target = f"{output.type} image format"
    else:
        target = "image"
    return f"exporting to {target}"
