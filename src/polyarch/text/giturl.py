"""Addresses of git repositories, and what of a repository is meant: BuildKit's rules.

An address may have a fragment, `#ref:subdir`, or a query, `?ref=…&subdir=…`; where both say something
they must agree. An http address is one of a repository only if its path ends in `.git`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, quote
from polyarch.pattern import pattern
from polyarch.record import frozen, replace

__all__ = ["GitReference", "GitURL", "parse_git_reference", "parse_git_url", "with_fragment"]

_SCHEMES = frozenset({"git", "http", "https", "ssh"})
_SCHEME = pattern(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = pattern(r"(?:([A-Za-z0-9._-]+)@)([A-Za-z0-9.-]+):(.+)", re.DOTALL)
_SHORTHAND = "github.com/"
_FLAGS = frozenset({"submodules", "keep-git-dir", "fetch-by-commit"})


@frozen
class GitURL:
    """An address in its parts; `remote` is what git is given. `ref` and `subdir` are None without a fragment."""

    scheme: str
    host: str
    path: str
    remote: str
    user: str | None = None
    ref: str | None = None
    subdir: str | None = None
    query: Mapping[str, tuple[str, ...]] | None = None


@frozen
class GitReference:
    """A repository and what is meant of it; "" and None for what wasn't said.

    `ambiguous` says that it could be a path of this machine, `unencrypted` that it is fetched in the open.
    """

    remote: str
    short_name: str
    ref: str = ""
    checksum: str = ""
    subdir: str = ""
    ambiguous: bool = False
    unencrypted: bool = False
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False


def parse_git_url(text: str) -> GitURL:
    """Read an address: a URL, or `user@host:path` as ssh has it. Raises InputError."""
    match = _SCHEME.match(text)
    if match is not None:
        scheme = match[1].lower()
        if scheme not in _SCHEMES:
            raise InputError(f"{scheme}: invalid protocol", hint="use https, http, ssh or git")
        return _from_url(text, scheme)
    scp = _SCP.fullmatch(text)
    if scp is None:
        raise InputError("unknown protocol", hint="an address begins with https:// or git@HOST:")
    rest, has_fragment, fragment = scp[3].partition("#")
    path, has_query, query = rest.partition("?")
    ref, subdir = _fragment(fragment) if has_fragment else (None, None)
    return GitURL(
        scheme="ssh",
        host=scp[2],
        path=path,
        remote=f"{scp[1]}@{scp[2]}:{path}",
        user=scp[1],
        ref=ref,
        subdir=subdir,
        query=_query(query) if has_query else None,
    )


def _from_url(text: str, scheme: str) -> GitURL:
    try:
        url = urlsplit(text)
        login, _, host = url.netloc.rpartition("@")
        _ = url.port
    except ValueError as error:
        raise InputError(f"parse {quote(text)}: {error}") from error
    before, has_fragment, fragment = text.partition("#")
    # A lone question mark stays part of the address, as Go has it.
    bare = before if before.endswith("?") and not url.query else before.partition("?")[0]
    ref, subdir = _fragment(unquote(fragment)) if has_fragment else (None, None)
    return GitURL(
        scheme=scheme,
        host=host,
        path=unquote(url.path),
        remote=scheme + bare[len(scheme) :],
        user=unquote(login) or None,
        ref=ref,
        subdir=subdir,
        query=_query(url.query) if url.query else None,
    )


def _fragment(text: str) -> tuple[str, str]:
    ref, _, subdir = text.partition(":")
    return ref, subdir


def _query(text: str) -> Mapping[str, tuple[str, ...]]:
    found = parse_qs(text, keep_blank_values=True)
    return {name: tuple(values) for name, values in found.items()}


def parse_git_reference(text: str) -> GitReference | None:
    """Understand what a build context or an ADD names; None if that isn't a repository.

    Raises InputError for a repository whose query can't be understood.
    """
    if text.startswith(("./", "../")):
        return None
    is_shorthand = text.startswith(_SHORTHAND)
    try:
        url = parse_git_url(f"https://{text}" if is_shorthand else text)
    except InputError:
        return None
    if not is_shorthand and url.scheme in {"http", "https"} and not url.path.endswith(".git"):
        return None
    remote = url.remote.removeprefix("https://") if is_shorthand else url.remote
    reference = GitReference(
        remote=remote,
        short_name=remote.rpartition("/")[2].removesuffix(".git"),
        ref=url.ref or "",
        subdir=posixpath.normpath("/" + url.subdir).lstrip("/") if url.subdir else "",
        ambiguous=is_shorthand,
        unencrypted=url.scheme in {"git", "http"},
    )
    return _with_query(reference, url.query or {})


def with_fragment(text: str) -> str:
    """Return an address of a repository without its query, what that says in a fragment: all frontends know those.

    What only a query can say (a checksum, submodules, ...), and what is no repository, is returned as it is.
    """
    found = parse_git_reference(text)
    if found is None:
        return text
    plain = GitReference(
        remote=found.remote,
        short_name=found.short_name,
        ref=found.ref,
        subdir=found.subdir,
        ambiguous=found.ambiguous,
        unencrypted=found.unencrypted,
    )
    if found != plain:
        return text
    fragment = f"{found.ref}:{found.subdir}" if found.subdir else found.ref
    return f"{found.remote}#{fragment}" if fragment else found.remote


def _with_query(reference: GitReference, query: Mapping[str, tuple[str, ...]]) -> GitReference:
    refs = {"tag": "", "branch": ""}
    for name, values in query.items():
        value = _single(name, values)
        if name in refs:
            refs[name] = value
        elif name in _SETTERS:
            reference = _SETTERS[name](reference, value)
        else:
            raise InputError(f"unexpected query {quote(name)}")
    if refs["tag"] and refs["branch"]:
        raise InputError("branch conflicts with tag")
    for name, prefix in (("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if refs[name]:
            reference = _set_ref(reference, prefix + refs[name].removeprefix(prefix))
    return reference


def _single(name: str, values: tuple[str, ...]) -> str:
    if len(values) > 1:
        raise InputError(f"query {quote(name)} has multiple values")
    if not values[0] and name not in _FLAGS:
        raise InputError(f"query {quote(name)} has no value")
    return values[0]


def _set_ref(reference: GitReference, ref: str) -> GitReference:
    if reference.ref and reference.ref != ref:
        raise InputError(f"ref conflicts: {quote(reference.ref)} vs {quote(ref)}")
    return replace(reference, ref=ref)


def _set_subdir(reference: GitReference, value: str) -> GitReference:
    if reference.subdir and reference.subdir != value:
        raise InputError(f"subdir conflicts: {quote(reference.subdir)} vs {quote(value)}")
    return replace(reference, subdir=value)


def _set_checksum(reference: GitReference, value: str) -> GitReference:
    return replace(reference, checksum=value)


def _set_keep(reference: GitReference, value: str) -> GitReference:
    return replace(reference, keep_git_dir=_flag("keep-git-dir", value))


def _set_submodules(reference: GitReference, value: str) -> GitReference:
    return replace(reference, submodules=_flag("submodules", value))


def _set_by_commit(reference: GitReference, value: str) -> GitReference:
    return replace(reference, fetch_by_commit=_flag("fetch-by-commit", value))


def _set_mtime(reference: GitReference, value: str) -> GitReference:
    if value not in {"checkout", "commit"}:
        raise InputError(f'invalid mtime value: {quote(value)} (must be "checkout" or "commit")')
    return replace(reference, mtime=value)


_SETTERS = {
    "ref": _set_ref,
    "subdir": _set_subdir,
    "checksum": _set_checksum,
    "commit": _set_checksum,
    "keep-git-dir": _set_keep,
    "submodules": _set_submodules,
    "fetch-by-commit": _set_by_commit,
    "mtime": _set_mtime,
}


def _flag(name: str, value: str) -> bool:
    found = True if value == "" else find_bool(value)
    if found is None:
        raise InputError(f"invalid {name} value: {quote(value)}")
    return found
