"""What a file op does to a tree, one after the other, as values.

Dockerfiles need little of what graphs of other programs (LLB) may ask for. What only those have is left out of the JSON
forms where it is as Dockerfiles have it, so that it counts in no cache key of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.record import asdict, frozen

__all__ = [
    "CopyAction",
    "FileAction",
    "Manner",
    "MkdirAction",
    "MkfileAction",
    "RmAction",
    "SymlinkAction",
    "action_cache_form",
    "action_form",
]


@frozen
class MkdirAction:
    """Make a directory and its missing parents. `owner` is as in `--chown`, "" for root with the group that the kernel gives.

    `created` is the time, in seconds since the epoch, that directories get which are made; None is now.
    Without `makes_parents` a missing parent is an error.
    """

    path: str
    mode: int = 0o755
    owner: str = ""
    created: int | None = None
    makes_parents: bool = True


@frozen
class MkfileAction:
    """Write a file from a here-document to `path`: absolute; a directory if it ends with a slash.

    `created` is the time of directories that are made for it, as in MkdirAction. One that `is_exact` is at its path and
    nowhere else, in a directory that has to be there, and `created` is its own time.
    """

    path: str
    name: str
    data: str
    mode: str = ""
    owner: str = ""
    created: int | None = None
    is_exact: bool = False


@frozen
class Manner:
    """How a copy takes its sources where neither COPY's way nor that of a literal copy is wanted.

    Whether a link that is a source is followed, whether a directory stands for its contents, whether sources are patterns,
    whether the copy's time is that of all that is copied.
    """

    follows_links: bool = False
    takes_contents: bool = False
    has_patterns: bool = False
    dates: bool = False


@frozen
class CopyAction:
    """Copy from input number `input` to `destination` (absolute; a trailing slash says directory).

    `sources` are paths or patterns below the input's root. `owner` and `mode` are as in `--chown` and
    `--chmod`, "" for none; `keep_owner` says what "" means: the source's owner, else 0:0. `unpack`
    says whether local archives are extracted. With `is_literal` sources are no patterns, links aren't
    followed, and a directory is copied as what it is rather than its contents. `created` is the time of
    directories that are made on the way to the destination, as in MkdirAction.

    Graphs of others have more: another `manner`, `include` (patterns for what is copied of a source) and the paths among
    them that are `required`, `replaces` (whatever is in the way, of any kind), directories that aren't made
    (`makes_parents`), and patterns that have to match something (`may_be_empty`).
    """

    input: int
    sources: tuple[str, ...]
    destination: str
    owner: str = ""
    mode: str = ""
    keep_owner: bool = False
    unpack: bool = False
    parents: bool = False
    is_literal: bool = False
    exclude: tuple[str, ...] = ()
    created: int | None = None
    manner: Manner | None = None
    include: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    replaces: bool = False
    makes_parents: bool = True
    may_be_empty: bool = True

    @property
    def is_itself(self) -> bool:
        """Whether a directory is copied as what it is, rather than its contents."""
        return self.is_literal if self.manner is None else not self.manner.takes_contents


@frozen
class RmAction:
    """Remove what is at `path`, with all below it; with `has_patterns` all that matches it.

    What isn't there is an error unless it `may_be_missing`; a pattern may match nothing.
    """

    path: str
    may_be_missing: bool = False
    has_patterns: bool = False


@frozen
class SymlinkAction:
    """Make a symbolic link to `target` at `path`, where nothing may be. `owner` and `created` are the link's own."""

    path: str
    target: str
    owner: str = ""
    created: int | None = None


FileAction = MkdirAction | MkfileAction | CopyAction | RmAction | SymlinkAction

_USUAL: Mapping[str, Mapping[str, object]] = {
    "MkdirAction": {"makes_parents": True},
    "MkfileAction": {"is_exact": False},
    "CopyAction": {
        "manner": None,
        "include": (),
        "required": (),
        "replaces": False,
        "makes_parents": True,
        "may_be_empty": True,
    },
}
"""What isn't told of an action, by its kind."""


def action_form(action: FileAction) -> dict[str, object]:
    """Return all of an action, as JSON."""
    kind = type(action).__name__
    form: dict[str, object] = {"do": kind, **asdict(action)}
    for name, usual in _USUAL.get(kind, {}).items():
        if getattr(action, name) == usual:
            del form[name]
    return form


def action_cache_form(action: FileAction) -> dict[str, object]:
    """Return what a cached result depends on: of a source's path only its last part."""
    form = action_form(action)
    if isinstance(action, CopyAction) and not action.parents:
        form["sources"] = [source.rstrip("/").rpartition("/")[2] for source in action.sources]
    return form
