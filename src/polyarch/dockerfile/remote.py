"""What ADD and build contexts mean by an address of another machine: an op that fetches it."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urlsplit

from polyarch.dockerfile.instruction import Add, Transfer
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.op import GitOp, HttpOp
from polyarch.text.giturl import GitReference, parse_git_reference
from polyarch.text.gotext import quote

__all__ = ["git_op", "remote_op"]

_WEB = re.compile(r"https?://")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_NAMELESS = "__unnamed__"


def git_op(
    reference: GitReference, *, keep_git_dir: bool | None = None, checksum: str = ""
) -> GitOp:
    """Return the op that fetches what a reference means; what is given here goes first."""
    kept = reference.keep_git_dir if keep_git_dir is None else keep_git_dir
    return GitOp(
        remote=reference.remote,
        ref=reference.ref,
        checksum=checksum or reference.checksum,
        subdir=reference.subdir,
        keep_git_dir=bool(kept),
        submodules=reference.submodules is not False,
        mtime=reference.mtime,
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
        if checksum and reference.checksum not in {"", checksum}:
            raise DockerfileError(
                f'checksum conflicts: "{checksum}" vs "{reference.checksum}"',
                place=instruction.location,
            )
        kept = instruction.keep_git_dir if isinstance(instruction, Add) else None
        return git_op(reference, keep_git_dir=kept, checksum=checksum)
    if not _WEB.match(source):
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


def _file_name(url: str) -> str:
    name = posixpath.basename(posixpath.normpath(unquote(urlsplit(url).path)))
    return name if name not in {"", ".", ".."} and "\0" not in name else _NAMELESS
