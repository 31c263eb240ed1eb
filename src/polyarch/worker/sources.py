"""What one source of a copy names in its tree, for those who hash it and those who copy it."""

from __future__ import annotations

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
    is_named = has_patterns and bool(split_pattern(clean_source(source))[1])
    if action.is_literal and manner is None:
        entries = [find_literal(tree, source)]
    elif manner is None or (manner.has_patterns and manner.follows_links):
        entries = find_sources(tree, source)
    else:
        names = find_names(tree, source) if manner.has_patterns else [source]
        find = find_path if manner.follows_links else find_literal
        entries = [find(tree, each) for each in names]
    if not entries and not action.may_be_empty:
        raise NotFound(f"{clean_source(source)} not found")
    for each in action.required:
        find_path(tree, f"{source}/{each}")
    includes = Matcher(action.include) if action.include else None
    return Sources(entries=tuple(entries), includes=includes, is_named=is_named)
