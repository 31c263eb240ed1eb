"""Commits and tags as git keeps them: what they say, and who has signed them.

Source: git's documentation of object formats; BuildKit's `util/gitutil/gitobject`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone

from polyarch.errors import InputError, IntegrityError
from polyarch.golang.strconv import parse_int
from polyarch.record import frozen

__all__ = ["GitObject", "actor", "parse_object"]

_SIGNATURES = ("-----BEGIN PGP SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----")
_NEEDED = {"commit": ("tree", "author", "committer"), "tag": ("object", "type", "tag", "tagger")}
_HASHES = {40: "sha1", 64: "sha256"}


@frozen
class GitObject:
    """A commit or a tag; `signed` is what its signature is of."""

    kind: str
    headers: dict[str, list[str]]
    message: str
    signature: str
    signed: bytes

    def first(self, name: str) -> str:
        """Return a header, "" if it isn't there."""
        return (self.headers.get(name) or [""])[0]


def parse_object(raw: bytes, digest: str) -> GitObject:
    """Read an object, whose name has to be `digest`. Raises IntegrityError."""
    kind = "tag" if raw.startswith(b"object ") else "commit"
    _check(kind, raw, digest)
    found = _parsed(kind, raw)
    for name in _NEEDED[kind]:
        if name not in found.headers:
            raise IntegrityError(f"invalid {kind} object: missing {name} header")
    return found


def _check(kind: str, raw: bytes, digest: str) -> None:
    name = _HASHES.get(len(digest))
    if name is None:
        raise IntegrityError(f"unsupported sha length {len(digest)}")
    # What git names objects by, safe or not.
    state = hashlib.new(name, usedforsecurity=False)
    state.update(f"{kind} {len(raw)}\0".encode() + raw)
    if state.hexdigest() != digest:
        raise IntegrityError(f"checksum mismatch: expected {digest}, got {state.hexdigest()}")


def _parsed(kind: str, raw: bytes) -> GitObject:
    head, blank, body = raw.decode("utf-8", "surrogateescape").partition("\n\n")
    headers: dict[str, list[str]] = {}
    signature: list[str] = []
    kept: list[str] = []
    is_signature = False
    for line in head.split("\n"):
        name, _, value = line.partition(" ")
        if kind == "commit" and name in {"gpgsig", "gpgsig-sha256"}:
            is_signature = True
            signature.append(value)
        elif is_signature and line.startswith(" "):
            signature.append(line[1:])
        else:
            is_signature = False
            kept.append(line)
            headers.setdefault(name, []).append(value)
    if kind == "tag":
        lines = body.split("\n")
        begin = next(
            (number for number, line in enumerate(lines) if line in _SIGNATURES), len(lines)
        )
        signature = lines[begin:]
        body = "\n".join(lines[:begin])
        body += "\n" if signature else ""
    signed = "\n".join(kept) + blank + body
    return GitObject(
        kind=kind,
        headers=headers,
        message=body.removesuffix("\n"),
        signature="\n".join(signature),
        signed=signed.encode("utf-8", "surrogateescape"),
    )


def actor(text: str) -> dict[str, object]:
    """Return who did something and when, as the input has it: `Ada <ada@example.com> 1700000000 +0100`."""
    start, end = text.rfind("<"), text.rfind(">")
    if not 0 <= start < end:
        return {"name": text.strip()} if text.strip() else {}
    found: dict[str, object] = {}
    if name := text[:start].strip():
        found["name"] = name
    if email := text[start + 1 : end].strip():
        found["email"] = email
    if when := _when(text[end + 1 :].split()):
        found["when"] = when
    return found


def _when(words: list[str]) -> str:
    if (
        len(words) < 2
        or len(words[1]) != 5
        or words[1][0] not in "+-"
        or not words[1][1:].isdecimal()
    ):
        return ""
    sign = -1 if words[1][0] == "-" else 1
    minutes = sign * (int(words[1][1:3]) * 60 + int(words[1][3:]))
    try:
        zone = timezone(timedelta(minutes=minutes))
        text = datetime.fromtimestamp(parse_int(words[0]), zone).isoformat()
    except (InputError, ValueError, OverflowError, OSError):
        return ""
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
