"""The names that an output gives to its image: those that were asked for, and those that come of its digest.

Source: BuildKit's `exporter/containerimage/export.go`.
"""

from __future__ import annotations

from polyarch.digest import Digest
from polyarch.exporter.outputs import is_true, names_of, parse_name
from polyarch.oci.reference import Reference
from polyarch.record import replace
from polyarch.request.values import Output, OutputType

__all__ = ["image_names", "pushed_names", "stored_names"]

_TAGGED = frozenset({OutputType.OCI, OutputType.DOCKER})
"""Outputs whose names have tags, as readers of archives and engines expect them."""


def image_names(output: Output, digest: Digest) -> tuple[Reference, ...]:
    """Return the names of an image, the one after `dangling-name-prefix` last. Raises InvalidReference."""
    names = names_of(output)
    if output.type in _TAGGED:
        names = tuple(parse_name(each.canonical) for each in names)
    prefix = output.attributes.get("dangling-name-prefix", "")
    if not prefix or (names and is_true(output, "danging-name-empty-only")):
        return names
    return (*names, parse_name(f"{prefix}@{digest}"))


def pushed_names(
    output: Output, names: tuple[Reference, ...], digest: Digest
) -> tuple[Reference, ...]:
    """Return the names that an image is pushed under: repositories with its digest, if that is asked for."""
    return _by_digest(names, digest) if is_true(output, "push-by-digest") else names


def stored_names(
    output: Output, names: tuple[Reference, ...], digest: Digest
) -> tuple[Reference, ...]:
    """Return the names that the local store keeps."""
    kept = pushed_names(output, names, digest)
    if is_true(output, "name-canonical"):
        kept = (*kept, *_by_digest(tuple(each for each in kept if not each.digest), digest))
    return tuple(dict.fromkeys(kept))


def _by_digest(names: tuple[Reference, ...], digest: Digest) -> tuple[Reference, ...]:
    return tuple(replace(name, tag=None, digest=digest) for name in names)
