"""Addresses of definitions: repositories, archives and files, and directories within them.

A directory of a repository is named as BuildKit does, `https://host/repo.git#ref:directory`. One of an archive is named
the same way, `https://host/sources.tar.gz#:directory`, which is ours: BuildKit has no name for it.

Source: behaviour of buildx's `bake/remote.go` and `updateContext`.
"""

from __future__ import annotations

import posixpath
from urllib.parse import parse_qsl, urlencode, urlsplit

from polyarch.errors import InputError
from polyarch.text.giturl import parse_git_reference

__all__ = ["is_local_path", "is_remote", "joined", "unpacked", "with_subdirectory"]

_WEB = ("http://", "https://")
_ELSEWHERE = ("cwd://", "target:", "docker-image:", "oci-layout://")


def is_remote(text: str) -> bool:
    """Tell whether a text is the address of a repository or of a web server."""
    if text.startswith(_WEB):
        return True
    try:
        return parse_git_reference(text) is not None
    except InputError:
        return True  # a repository, of which something can't be understood


def is_local_path(text: str) -> bool:
    """Tell whether a build context is a path, which is relative to something."""
    return not text.startswith(_ELSEWHERE) and not is_remote(text) and "://" not in text


def with_subdirectory(address: str, path: str) -> str:
    """Return the address of a directory within what an address names; it can't lead out of it."""
    inner = posixpath.normpath("/" + path).lstrip("/")
    if not inner:
        return address
    before, has_fragment, fragment = address.partition("#")
    query = dict(parse_qsl(urlsplit(before).query, keep_blank_values=True))
    if not has_fragment and "subdir" in query:
        query["subdir"] = posixpath.join(query["subdir"], inner)
        return f"{before.partition('?')[0]}?{urlencode(sorted(query.items()))}"
    ref, _, outer = fragment.partition(":")
    return f"{before}#{ref}:{posixpath.normpath(posixpath.join(outer, inner))}"


def unpacked(address: str) -> str:
    """Return what a named context is called that is a directory: an archive without `#:` would stay a file."""
    is_archive = address.startswith(_WEB) and parse_git_reference(address) is None
    return f"{address}#:." if is_archive and "#" not in address else address


def joined(base: str, path: str) -> str:
    """Return where a path leads that is relative to `base`: a directory here, or an address."""
    if is_remote(base):
        return with_subdirectory(base, path)
    scheme, has_scheme, rest = base.rpartition("://")
    return f"{scheme}{has_scheme}{posixpath.normpath(posixpath.join(rest, path))}"
