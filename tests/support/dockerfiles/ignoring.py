"""Which files of a context a build would be sent."""

from __future__ import annotations

from collections.abc import Iterable

from polyarch.text.ignore import ContextFilter, exclusion

__all__ = ["kept_files"]


def kept_files(patterns: list[str], files: Iterable[str]) -> list[str]:
    """The files, sorted, that a walk over a context of these files keeps."""
    matcher = exclusion(patterns)
    if matcher is None:
        return sorted(files)
    is_ignored = ContextFilter(matcher).ignores
    return [path for path in sorted(files) if not is_ignored(path)]
