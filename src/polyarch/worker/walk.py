"""Walking a source directory of a copy: what of it is wanted, in the order in which it is hashed and copied."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from polyarch.look import Status
from polyarch.progress import check_cancelled
from polyarch.text.ignore import Matcher, Verdict
from polyarch.worker.listing import Found, Listing
from polyarch.worker.tree import SourceTree

__all__ = ["Selected", "Skip", "select"]

Skip = Callable[[str, str, Listing], bool]
"""From the path below the source of a directory of a context, with a slash at its end ("" for the source), where it lies, and
what is in it, to whether what isn't a directory in it is left out."""


class Selected(NamedTuple):
    """Something below a source directory that is to be copied.

    It is called `name` in `directory`, an absolute path; `prefix` is the path of that below the source, with a
    slash at its end, "" for the source itself. `is_wanted` is false for a directory that comes only because
    something in it is wanted.
    """

    directory: str
    prefix: str
    name: str
    status: Status
    is_wanted: bool = True

    @property
    def inside(self) -> str:
        """Its path below the source directory."""
        return self.prefix + self.name

    @property
    def path(self) -> str:
        """Where it lies on this machine."""
        return f"{self.directory}/{self.name}"


def select(
    tree: SourceTree,
    directory: Path | str,
    includes: Matcher | None = None,
    excludes: Matcher | None = None,
    *,
    skip: Skip | None = None,
) -> Iterator[Selected]:
    """Walk a directory below the root: what `includes` match and `excludes` don't, directories before their contents.

    None stands for all and for nothing. A pattern that matches a directory matches all that is in it.
    """
    return _Selection(tree, includes, excludes, skip).below(str(directory), "", None, None)


class _Selection:
    def __init__(
        self,
        tree: SourceTree,
        includes: Matcher | None,
        excludes: Matcher | None,
        skip: Skip | None,
    ) -> None:
        self._tree = tree
        self._skip = skip
        self._includes = includes
        self._excludes = excludes
        # Directories on the way to where the walk is, of which nothing was wanted so far.
        self._waiting: list[Selected] = []

    def below(
        self, directory: str, prefix: str, included: Verdict | None, excluded: Verdict | None
    ) -> Iterator[Selected]:
        """Walk `directory`, called `prefix`, given the verdicts on it."""
        for name, status in self._entries(directory, prefix):
            check_cancelled()
            inside = prefix + name
            includes = _judge(self._includes, inside, included)
            excludes = _judge(self._excludes, inside, excluded)
            is_excluded = excludes is not None and excludes.ignored
            is_wanted = (includes is None or includes.ignored) and not is_excluded
            is_directory = stat.S_ISDIR(status.st_mode)
            if not is_wanted and (not is_directory or (is_excluded and not self._may_return)):
                continue
            found = Selected(directory, prefix, name, status, is_wanted)
            if is_wanted:
                if self._waiting:
                    yield from self._waiting
                    self._waiting.clear()
                yield found
            if is_directory:
                yield from self._contents(found, includes, excludes)

    def _entries(self, directory: str, prefix: str) -> Iterable[Found]:
        if self._skip is not None and self._tree.is_context:
            listing = self._tree.listing(directory)
            if self._skip(prefix, directory, listing):
                return listing.below()
        return self._tree.entries(directory)

    def _contents(
        self, found: Selected, includes: Verdict | None, excludes: Verdict | None
    ) -> Iterator[Selected]:
        if found.is_wanted:
            yield from self.below(found.path, f"{found.inside}/", includes, excludes)
            return
        self._waiting.append(found)
        yield from self.below(found.path, f"{found.inside}/", includes, excludes)
        if self._waiting:
            self._waiting.pop()

    @property
    def _may_return(self) -> bool:
        """Whether something in an excluded directory may be brought back."""
        return self._excludes is not None and self._excludes.has_exceptions


def _judge(matcher: Matcher | None, path: str, above: Verdict | None) -> Verdict | None:
    # A matcher without patterns is one that matches nothing.
    return None if matcher is None else matcher.judge(path, above)
