"""What ADD and build contexts mean by an address of another machine: an op that fetches it."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

from polyarch.dockerfile.syntax.instruction import Add, Transfer
from polyarch.errors import DockerfileError, InputError
from polyarch.golang.strconv import quote
from polyarch.graph.op import GitOp, HttpOp
from polyarch.pattern import pattern
from polyarch.text.giturl import GitReference, parse_git_reference

__all__ = ["git_op", "remote_op"]

_WEB = ("http://", "https://")
_DIGEST = pattern(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_NAMELESS = "__unnamed__"


def git_op(reference: GitReference, *, keep_git_dir: bool = False, checksum: str = "") -> GitOp:
    """Return the op that fetches what a reference means, with what is said beside it."""
    return GitOp(
        remote=reference.remote,
        ref=reference.ref,
        checksum=reference.checksum or checksum,
        subdir=reference.subdir,
        keep_git_dir=keep_git_dir or bool(reference.keep_git_dir),
        submodules=reference.submodules is not False,
        mtime=reference.mtime,
        fetch_by_commit=reference.fetch_by_commit,
    )


def remote_op(source: str, instruction: Transfer, checksum: str) -> HttpOp | GitOp | None:
    """Return the op that fetches a source of ADD; None for a path.

    `checksum` is the flag's value, expanded. Raises DockerfileError with the place.
    """
    try:
        reference = parse_git_reference(source)
    except InputError as error:
        raise DockerfileError(str(error), hint=error.hint, place=instruction.location) from error
    if reference is not None and not reference.ambiguous:
        return _added_repository(reference, instruction, checksum)
    if not source.startswith(_WEB):
        return None
    if checksum and not _DIGEST.fullmatch(checksum):
        raise DockerfileError(
            f"invalid checksum {checksum!r}: it is no digest",
            hint="write --checksum=sha256: and 64 hexadecimal digits",
            place=instruction.location,
        )
    try:
        name = _file_name(source)
    except ValueError as error:
        message = f"parse {quote(source)}: {error}"
        raise DockerfileError(message, place=instruction.location) from error
    return HttpOp(url=source, filename=name, checksum=checksum)


def _added_repository(reference: GitReference, instruction: Transfer, checksum: str) -> GitOp:
    """Return the op of a repository that ADD names; flags and address must agree."""
    kept = instruction.keep_git_dir if isinstance(instruction, Add) else None
    problem = ""
    if checksum and reference.checksum not in {"", checksum}:
        problem = f"checksum mismatch {quote(checksum)} != {quote(reference.checksum)}"
    elif kept is not None and reference.keep_git_dir not in {None, kept}:
        problem = "inconsistent keep-git-dir configuration"
    if problem:
        hint = "the flag says one thing, the address another"
        raise DockerfileError(problem, hint=hint, place=instruction.location)
    return git_op(reference, keep_git_dir=bool(kept), checksum=checksum)


def _file_name(url: str) -> str:
    name = posixpath.basename(posixpath.normpath(unquote(urlsplit(url).path)))
    return name if name not in {"", ".", ".."} and "\0" not in name else _NAMELESS
