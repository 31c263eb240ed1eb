"""What git says of a build context: attributes for records and attestations, and labels for those who ask for them.

    vcs:source              the address of the remote, without credentials
    vcs:revision            the commit
    vcs:localdir:context    the context's directory, below the top of the working tree
    vcs:localdir:dockerfile    the Dockerfile's

The files of a repository are read as they are, which takes a tenth of a millisecond; git itself, which buildx
starts five times, would take as long as the rest of an unchanged build's start. It is asked only whether there are
changes, if that is wanted, and for the commit where it isn't kept in files that have the usual form.

Source: buildx's `build/git.go` and `util/gitutil`; git's documentation of gitrepository-layout.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from polyarch.golang.strconv import find_bool
from polyarch.pattern import pattern
from polyarch.record import frozen, replace
from polyarch.request.values import BuildRequest, is_address

__all__ = ["remote_of", "with_git"]

_COMMIT = pattern(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_CREDENTIALS = pattern(r"^([a-z][a-z0-9+.-]*://)[^/@:]*(:[^/@]*)?@")
_SECTION = pattern(r'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')
_ENTRY = pattern(r"([A-Za-z][A-Za-z0-9-]*)\s*=\s*(.*)")
_REMARK = pattern(r"\s+[#;].*$")
_SMALL = 1 << 20
_SECONDS = 60
_PREFIX = "org.opencontainers.image."
_DOCKERFILE_LABEL = "com.docker.image.source.entrypoint"


def with_git(request: BuildRequest, environ: Mapping[str, str]) -> BuildRequest:
    """Return the request with what git says of its context, if that is a directory in a working tree.

    `BUILDX_GIT_INFO=0` leaves the attributes out, `BUILDX_GIT_LABELS=1` adds labels where the request has none of
    their names, `BUILDX_GIT_CHECK_DIRTY=1` marks the commit of a tree with changes.
    """
    labels = environ.get("BUILDX_GIT_LABELS", "")
    wants_labels = labels == "full" or find_bool(labels) is True
    wants_info = find_bool(environ.get("BUILDX_GIT_INFO", "")) is not False
    context = request.context
    if not (wants_labels or wants_info) or context in {"", "-"} or is_address(context):
        return request
    directory = os.path.realpath(context)
    tree = _find_tree(directory)
    if tree is None:
        return request
    revision = tree.revision()
    if revision and find_bool(environ.get("BUILDX_GIT_CHECK_DIRTY", "")) is True:
        revision += "-dirty" if tree.is_dirty() else ""
    source = tree.remote()
    file = _dockerfile(request, directory)
    if wants_labels:
        labels_of_git = {
            f"{_PREFIX}revision": revision,
            f"{_PREFIX}source": source,
            _DOCKERFILE_LABEL: tree.below(file),
        }
        # What git says wins, as with buildx.
        request = replace(request, labels={**request.labels, **_known(labels_of_git)})
    if not wants_info:
        return request
    found = {
        "vcs:revision": revision,
        "vcs:source": source,
        "vcs:localdir:context": tree.below(directory),
        "vcs:localdir:dockerfile": tree.below(os.path.dirname(os.path.realpath(file))),
    }
    return replace(request, vcs=_known(found))


def _dockerfile(request: BuildRequest, directory: str) -> str:
    if request.dockerfile in {"", "-"}:
        return os.path.join(directory, "Dockerfile")
    return os.path.abspath(request.dockerfile)


def _known(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def remote_of(directory: str) -> str:
    """Return the address of the remote of the working tree that a directory is in, "" if there is none."""
    tree = _find_tree(os.path.realpath(directory))
    return tree.remote() if tree is not None else ""


@frozen
class _Tree:
    """A working tree: its top, the directory of its own state, and that of the repository, with all branches."""

    top: str
    state: Path
    common: Path

    def below(self, path: str) -> str:
        """Return a path relative to the top, "" for one that isn't below it."""
        relative = os.path.relpath(path, self.top)
        return "" if relative == ".." or relative.startswith("../") else relative

    def revision(self) -> str:
        """Return the commit that is checked out, "" if there is none yet."""
        name = _read(self.state / "HEAD").strip()
        for _ in range(5):  # a symbolic name may stand for another one
            if not name.startswith("ref:"):
                break
            name = self._named(name.removeprefix("ref:").strip())
        if _COMMIT.match(name):
            return name
        return "" if _has_files(self.common) else self._git("rev-parse", "--verify", "-q", "HEAD")

    def _named(self, reference: str) -> str:
        for directory in (self.state, self.common):
            if found := _read(directory / reference).strip():
                return found
        for line in _read(self.common / "packed-refs").splitlines():
            commit, _, name = line.partition(" ")
            if name == reference:
                return commit
        return ""

    def remote(self) -> str:
        """Return the address of the branch's remote, else of `origin`, else of `upstream`; "" if there is none."""
        settings = dict(_settings(_read(self.common / "config")))
        branch = _read(self.state / "HEAD").strip().removeprefix("ref: refs/heads/")
        tracked = settings.get(("branch", branch, "remote"), "")
        for name in (tracked, "origin", "upstream"):
            if address := settings.get(("remote", name, "url"), ""):
                return _without_credentials(address)
        return ""

    def is_dirty(self) -> bool:
        """Tell whether the tree has changes."""
        return bool(self._git("status", "--porcelain", "--ignored=no"))

    def _git(self, *words: str) -> str:
        import subprocess  # noqa: PLC0415 takes milliseconds, and git is seldom asked

        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                ("git", "-C", self.top, *words),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
            return done.stdout.decode(errors="replace").strip()
        return ""


def _without_credentials(address: str) -> str:
    """Return an address with `xxxxx` in the place of a user's name and password."""
    found = _CREDENTIALS.match(address)
    if found is None:
        return address
    return f"{found[1]}xxxxx{':xxxxx' if found[2] else ''}@{address[found.end() :]}"


def _find_tree(directory: str) -> _Tree | None:
    """Return the working tree that a directory is in, None outside of one."""
    for top in (directory, *map(str, Path(directory).parents)):
        entry = Path(top, ".git")
        with suppress(OSError):
            state = entry if entry.is_dir() else _pointed(entry)
            if state is not None and (state / "HEAD").is_file():
                common = _read(state / "commondir").strip()
                return _Tree(top=top, state=state, common=state / common if common else state)
    return None


def _pointed(file: Path) -> Path | None:
    """Return the directory that the `.git` file of a worktree or submodule names."""
    name = _read(file).strip()
    return (
        file.parent / name.removeprefix("gitdir:").strip() if name.startswith("gitdir:") else None
    )


def _has_files(common: Path) -> bool:
    """Tell whether branches are kept in files, and not in tables (`reftable`)."""
    return not (common / "reftable").exists()


def _read(path: Path) -> str:
    """Return the text of a small file, "" if there is none."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(_SMALL).decode(errors="replace")
    return ""


def _settings(text: str) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Give the settings of a git configuration: section, subsection and name, and the value."""
    section = ("", "")
    for line in map(str.strip, text.splitlines()):
        if heading := _SECTION.match(line):
            subsection = re.sub(r"\\(.)", r"\1", heading[2] or "")
            section = (heading[1].lower(), subsection)
        # A setting may stand behind the heading of its section.
        if entry := _ENTRY.match(line[heading.end() :].strip() if heading else line):
            yield (*section, entry[1].lower()), _REMARK.sub("", entry[2]).strip().strip('"')
