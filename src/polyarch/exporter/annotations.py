"""Annotations of an image: what the request and an output ask for, and which document each lands on.

An attribute of an output is `annotation.KEY`, `annotation-LEVEL.KEY` or `annotation-LEVEL[PLATFORM].KEY`;
the levels are those of docker buildx's `--annotation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.platforms import Platform
from polyarch.platforms import read as read_platform
from polyarch.record import frozen, replace
from polyarch.request.annotation import Annotation
from polyarch.request.values import Output

__all__ = [
    "INDEX",
    "INDEX_DESCRIPTOR",
    "MANIFEST",
    "MANIFEST_DESCRIPTOR",
    "Annotations",
    "annotated",
]

MANIFEST = "manifest"
MANIFEST_DESCRIPTOR = "manifest-descriptor"
INDEX = "index"
INDEX_DESCRIPTOR = "index-descriptor"
_LEVELS = frozenset({MANIFEST, MANIFEST_DESCRIPTOR, INDEX, INDEX_DESCRIPTOR})
_ATTRIBUTE = pattern(r"annotation(?:-([a-z-]+))?(?:\[([^\]]*)\])?\.(.+)", re.DOTALL)


@frozen
class Annotations:
    """Annotations with a level, and normalized platforms; of two for the same place the later one wins."""

    entries: tuple[Annotation, ...] = ()

    @staticmethod
    def parse(attributes: Mapping[str, str]) -> Annotations:
        """Read those among an output's attributes. Raises InputError, InvalidPlatform."""
        entries: list[Annotation] = []
        for name, value in attributes.items():
            match = _ATTRIBUTE.fullmatch(name) if name.startswith("annotation") else None
            if match is None:
                continue
            level = match[1] or MANIFEST
            if level not in _LEVELS:
                raise InputError(
                    f"unknown annotation type {level!r}",
                    hint="use one of " + ", ".join(sorted(_LEVELS)),
                )
            platform = _platform(match[2] or "")
            entries.append(Annotation(level=level, platform=platform, key=match[3], value=value))
        return Annotations(entries=tuple(entries))

    def find(self, level: str, platform: Platform | None = None) -> dict[str, str]:
        """Return the annotations of one level, sorted by key: those for all, and those for `platform`, which win.

        An index is for all platforms, whatever its annotations say: as in BuildKit, they are its own.
        """
        is_whole = level in {INDEX, INDEX_DESCRIPTOR}
        found = {
            each.key: each.value
            for each in sorted(self.entries, key=_is_special)
            if each.level == level and (is_whole or each.platform in {None, platform})
        }
        return dict(sorted(found.items()))

    def check_platforms(self, platforms: Sequence[Platform]) -> None:
        """Raise InputError for an annotation of a platform that isn't one of several.

        Where there is but one, what is for others is left out, as in BuildKit: a setting may be shared by
        builds of one platform each.
        """
        for each in self.entries if len(platforms) > 1 else ():
            if each.platform is not None and each.platform not in platforms:
                raise InputError(
                    f"invalid annotation: no platform {each.platform} found in source",
                    hint="the build is for " + ", ".join(map(str, platforms)),
                )


def _is_special(annotation: Annotation) -> bool:
    return annotation.platform is not None


def annotated(outputs: Iterable[Output], asked: Iterable[Annotation]) -> tuple[Output, ...]:
    """Add annotations to all outputs."""
    attributes = {}
    for each in asked:
        place = f"[{each.platform}]" if each.platform else ""
        attributes[f"annotation-{each.level or MANIFEST}{place}.{each.key}"] = each.value
    return tuple(
        replace(each, attributes={**each.attributes, **attributes}) if attributes else each
        for each in outputs
    )


def _platform(text: str) -> Platform | None:
    return read_platform(text) if text else None
