"""Walking a source folder of a copy: what of it is wanted, in the order in which it is hashed and copied."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from polyarch.look import Status
from polyarch.progress import check_cancelled
from polyarch.text.ignore import Matcher, Verdict
from polyarch.worker.tree import SourceTree

__all__ = ["Selected", "select"]


class Selected(NamedTuple):
    """Something below a source folder that is to be copied.

    It is called `name` in `folder`, an absolute path; `prefix` is the path of that below the source, with a
    slash at its end, "" for the source itself. `is_wanted` is false for a folder that comes only because
    something in it is wanted.
    """

    folder: str
    prefix: str
    name: str
    status: Status
    is_wanted: bool = True

    @property
    def inside(self) -> str:
        """Its path below the source folder."""
        return self.prefix + self.name

    @property
    def path(self) -> str:
        """Where it lies on this machine."""
        return f"{self.folder}/{self.name}"


def select(
    tree: SourceTree,
    folder: Path | str,
    includes: Matcher | None = None,
    excludes: Matcher | None = None,
) -> Iterator[Selected]:
    """Walk a folder below the root: what `includes` match and `excludes` don't, folders before their contents.

    None stands for all and for nothing. A pattern that matches a folder matches all that is in it.
    """
    return _Selection(tree, includes, excludes).below(str(folder), "", None, None)


class _Selection:
    def __init__(
        self, tree: SourceTree, includes: Matcher | None, excludes: Matcher | None
    ) -> None:
        self._tree = tree
        self._includes = includes
        self._excludes = excludes
        # Folders on the way to where the walk is, of which nothing was wanted so far.
        self._waiting: list[Selected] = []

    def below(
        self, folder: str, prefix: str, included: Verdict | None, excluded: Verdict | None
    ) -> Iterator[Selected]:
        """Walk `folder`, called `prefix`, given the verdicts on it."""
        for name, status in self._tree.entries(folder):
            check_cancelled()
            inside = prefix + name
            includes = _judge(self._includes, inside, included)
            excludes = _judge(self._excludes, inside, excluded)
            is_excluded = excludes is not None and excludes.ignored
            is_wanted = (includes is None or includes.ignored) and not is_excluded
            is_folder = stat.S_ISDIR(status.st_mode)
            if not is_wanted and (not is_folder or (is_excluded and not self._may_return)):
                continue
            found = Selected(folder, prefix, name, status, is_wanted)
            if is_wanted:
                if self._waiting:
                    yield from self._waiting
                    self._waiting.clear()
                yield found
            if is_folder:
                yield from self._contents(found, includes, excludes)

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
        """Whether something in an excluded folder may be brought back."""
        return self._excludes is not None and self._excludes.has_exceptions


def _judge(matcher: Matcher | None, path: str, above: Verdict | None) -> Verdict | None:
    # A matcher without patterns is one that matches nothing.
    return None if matcher is None else matcher.judge(path, above)
