"""What outputs ask for: their attributes and names, read and checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO, Protocol

from polyarch.errors import InputError, InvalidReference
from polyarch.exporter.annotations import INDEX, INDEX_DESCRIPTOR, Annotations
from polyarch.golang.strconv import parse_bool, parse_int, quote
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import frozen
from polyarch.request.values import Output, OutputType
from polyarch.text.epoch import parse_epoch
from polyarch.text.nearest import suggestion

__all__ = [
    "FILE_TYPES",
    "IMAGE_TYPES",
    "Engines",
    "Forms",
    "ImageEngine",
    "annotations_of",
    "check_outputs",
    "epoch_of",
    "is_for_engine",
    "is_true",
    "names_of",
    "step_name",
]

_KNOWN = tuple(OutputType)
IMAGE_TYPES = frozenset({OutputType.DOCKER, OutputType.IMAGE, OutputType.OCI, OutputType.REGISTRY})
FILE_TYPES = frozenset({OutputType.LOCAL, OutputType.TAR})
_IMAGE_ATTRIBUTES = frozenset(
    {
        "name", "push", "store", "unpack", "compression", "compression-level", "oci-mediatypes",
        "registry.insecure", "tar", "attestation-inline", "oci-artifact", "source-date-epoch", "rewrite-timestamp",
        "context",
    }
)  # fmt: skip
_FILE_ATTRIBUTES = frozenset({"attestation-prefix", "mode", "platform-split", "source-date-epoch"})


class ImageEngine(Protocol):
    """Docker's engine, as far as it takes images."""

    def holds_indexes(self) -> bool:
        """Tell whether it keeps images of several platforms under one name."""

    def load(self, archive: BinaryIO, size: int) -> None:
        """Give it an archive of `size` bytes."""


Engines = Mapping[str, ImageEngine]
"""Docker's engines by context; those of outputs that are to be loaded, where there are any."""


def is_for_engine(output: Output) -> bool:
    """Tell whether an output is for docker's engine, as `--load` is."""
    return output.type == OutputType.DOCKER and not output.destination


def names_of(output: Output) -> tuple[Reference, ...]:
    """Return the names that an output gives to its image. Raises InvalidReference."""
    names = map(str.strip, output.attributes.get("name", "").split(","))
    return tuple(_parse_name(name) for name in names if name)


def _parse_name(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidReference as error:
        message = f"failed to parse ref {quote(text)}: {error}"
        raise InvalidReference(message, hint=error.hint) from error


def is_true(output: Output, key: str, *, default: bool = False) -> bool:
    """Read a bool attribute. Raises InputError."""
    text = output.attributes.get(key)
    if text is None:
        return default
    try:
        return parse_bool(text)
    except InputError as error:
        of = "" if key == "platform-split" else "specified "
        named = f"{key}: {text}" if key == "platform-split" else key
        message = f"non-bool value {of}for {named}: {error}"
        raise InputError(message, hint="write true or false") from error


def epoch_of(output: Output, epoch: int | None) -> int | None:
    """Return the latest time, in seconds, of what is new in an output: its own or that of the build.

    Raises InputError.
    """
    text = output.attributes.get("source-date-epoch", "")
    if not text:
        return epoch
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
    """What is to be exported: of how many platforms; whether as an index even of one; whether with attestations.

    `is_attested_inline` says that there are some of images alone.
    """

    platforms: int
    is_index: bool = False
    is_attested: bool = False
    is_attested_inline: bool = False

    @property
    def is_list(self) -> bool:
        """Whether the result has several manifests."""
        return self.platforms > 1 or self.is_attested

    def makes_index(self, output: Output) -> bool:
        """Tell whether an output is an index."""
        is_image = output.type in {OutputType.IMAGE, OutputType.REGISTRY}
        return self.is_index or self.is_list or (self.is_attested_inline and is_image)


def check_outputs(outputs: Sequence[Output], forms: Forms, engines: Engines) -> None:
    """Refuse, before anything is built, what can't be exported. Raises InputError."""
    for output in outputs:
        _check(output, forms)
        annotations_of(output, is_index=forms.makes_index(output))
        if forms.is_list and is_for_engine(output):
            engine = engines.get(output.attributes.get("context", ""))
            if engine is not None and not engine.holds_indexes():
                raise InputError(
                    "docker exporter does not currently support exporting manifest lists",
                    hint="this docker engine keeps images of one platform: build for one, or leave "
                    "--load out, and all of them stay in polyarch's own store",
                )


def _check(output: Output, forms: Forms) -> None:
    if output.type not in _KNOWN:
        near = suggestion(output.type, _KNOWN)
        raise InputError(
            f"exporter {quote(output.type)} could not be found{near}",
            hint="use one of " + ", ".join(_KNOWN),
        )
    _check_attributes(output)
    _check_place(output, forms)


def _check_attributes(output: Output) -> None:
    """Raise InputError for an attribute that isn't known, or can't be what it is."""
    known = _IMAGE_ATTRIBUTES if output.type in IMAGE_TYPES else _FILE_ATTRIBUTES
    unknown = sorted(
        name
        for name in set(output.attributes) - known
        if not name.startswith("annotation")  # files have nothing to hang them on: as in buildx
    )
    if unknown and output.type != OutputType.CACHEONLY:
        raise InputError(
            f"the attribute {unknown[0]!r} of output type={output.type} can't be carried out yet",
            hint="leave it out",
        )
    if is_true(output, "rewrite-timestamp") and is_true(output, "unpack"):
        raise InputError(
            'exporter option "rewrite-timestamp" conflicts with "unpack"',
            hint="leave one of them out",
        )
    for name in ("attestation-inline", "oci-artifact", "oci-mediatypes", "platform-split", "tar"):
        is_true(output, name)
    epoch_of(output, None)


def _check_place(output: Output, forms: Forms) -> None:
    """Raise InputError if the output can't go where it shall."""
    names = names_of(output) if output.type in IMAGE_TYPES else ()
    is_pushed = output.type == OutputType.REGISTRY or is_true(output, "push")
    if is_pushed and not names:
        raise InputError("tag is needed when pushing to registry", hint="name one with -t")
    if output.type == OutputType.DOCKER and output.destination and forms.is_list:
        raise InputError(
            "docker exporter does not currently support exporting manifest lists",
            hint="build for one platform and without attestations, or use type=oci",
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
