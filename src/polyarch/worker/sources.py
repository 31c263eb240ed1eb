"""What one source of a copy names in its tree, for those who hash it and those who copy it."""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.errors import NotFound
from polyarch.graph.actions import CopyAction
from polyarch.record import frozen
from polyarch.text.ignore import Matcher
from polyarch.text.wildcard import split_pattern
from polyarch.worker.tree import (
    Entry,
    SourceTree,
    clean_source,
    find_literal,
    find_names,
    find_path,
    find_sources,
    find_starts,
)

__all__ = ["Sources", "find_all"]


@frozen
class Sources:
    """What was found: `includes` say what below it is wanted, None for all; `is_named` whether the names count."""

    entries: tuple[Entry, ...]
    includes: Matcher | None = None
    is_named: bool = False


def find_all(tree: SourceTree, action: CopyAction, source: str) -> Sources:
    """Find what `source`, one of a copy's, names. Raises NotFound for what is missing."""
    if action.parents:
        starts, pattern = find_starts(tree, source)
        return Sources(entries=tuple(starts), includes=Matcher([pattern]))
    manner = action.manner
    has_patterns = not action.is_literal if manner is None else manner.has_patterns
    follows_links = not action.is_literal if manner is None else manner.follows_links
    is_named = has_patterns and bool(split_pattern(clean_source(source))[1])
    entries = _find(tree, source, has_patterns=has_patterns, follows_links=follows_links)
    if not entries and not action.may_be_empty:
        raise NotFound(f"{clean_source(source)} not found")
    for each in action.required:
        find_path(tree, f"{source}/{each}")
    includes = Matcher(action.include) if action.include else None
    return Sources(entries=tuple(entries), includes=includes, is_named=is_named)


def _find(
    tree: SourceTree, source: str, *, has_patterns: bool, follows_links: bool
) -> Sequence[Entry]:
    if has_patterns and follows_links:
        return find_sources(tree, source)
    names = find_names(tree, source) if has_patterns else [source]
    find = find_path if follows_links else find_literal
    return [find(tree, each) for each in names]
