"""Listings: the files behind a content digest, by path, small enough to be kept.

Of a file there are its type, mode and owner and the beginning of a digest, or of one that nobody read its
size; nothing can be made of that but the answer to which file differs. A listing is packed for the
store; too large a one isn't kept.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping

from polyarch.pattern import pattern
from polyarch.request.explanation import Cause, CauseKind
from polyarch.why.seen import UNREAD, Seen

__all__ = ["FileMark", "differences", "list_seen", "pack", "unpack"]

MOST_FILES = 50_000
_FAST = 1
_HEADER = pattern(rb"(\d+) (\d+) (\d+) (\d+)")
_MARK = struct.Struct("<IIII8s4s")
_LIMIT = 0xFFFFFFFF
_DIGEST = 32
_UNREAD = 1 << 31
"""Beside the type of a file that nobody has read."""
_TYPES = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}

FileMark = tuple[int, int, int, int, bytes, bytes]
"""(type, mode, uid, gid, the beginning of the content's digest, that of the attributes' digest).

With `_UNREAD` in the type, the size is in the place of the content's digest.
"""


def list_seen(seen: Seen) -> dict[str, FileMark] | None:
    """Return what was seen, by path in its tree; None if that is too much to keep."""
    if len(seen.files) > MOST_FILES:
        return None
    listing: dict[str, FileMark] = {}
    for path, header in seen.files:
        root = next((each for each in seen.roots if path.startswith(f"{each}/")), "")
        listing[path[len(root) + 1 :] if root else path] = _mark(header)
    return listing


def _mark(header: bytes) -> FileMark:
    match = _HEADER.match(header)
    assert match is not None
    kind, mode, uid, gid = (
        int(text, base) for text, base in zip(match.groups(), (8, 8, 10, 10), strict=True)
    )
    rest = header[match.end() :]
    content = rest[1:]
    attributes = b""
    if kind == stat.S_IFREG:
        size, _, content = content.partition(b" ")
    if kind in (stat.S_IFREG, stat.S_IFLNK):
        content, attributes = content[:_DIGEST], content[_DIGEST:]
        start = content[:8]
        if kind == stat.S_IFREG and content == UNREAD:
            kind, start = kind | _UNREAD, int(size).to_bytes(8, "big")
    elif kind == stat.S_IFDIR:
        start, attributes = bytes(8), rest
    else:
        # What follows the number of a device aren't attributes that could be told apart from it.
        start = hashlib.sha256(content).digest()[:8]
    end = hashlib.sha256(attributes).digest()[:4] if attributes else bytes(4)
    return kind, mode, min(uid, _LIMIT), min(gid, _LIMIT), start, end


def pack(listing: Mapping[str, FileMark]) -> bytes:
    """Write a listing as few bytes."""
    names = "\0".join(listing).encode("utf-8", "surrogateescape")
    marks = b"".join([_MARK.pack(*mark) for mark in listing.values()])
    return struct.pack("<II", len(listing), len(names)) + zlib.compress(names + marks, _FAST)


def unpack(data: bytes) -> dict[str, FileMark]:
    """Read what `pack` wrote; anything else raises ValueError."""
    try:
        count, length = struct.unpack_from("<II", data)
        packed = zlib.decompress(data[8:])
        marks = list(_MARK.iter_unpack(packed[length:]))
    except (struct.error, zlib.error) as error:
        raise ValueError(str(error)) from error
    if not count:
        return {}
    names = packed[:length].decode("utf-8", "surrogateescape").split("\0")
    return dict(zip(names, marks, strict=True))


def differences(old: Mapping[str, FileMark], new: Mapping[str, FileMark]) -> Iterator[Cause]:
    """Yield how two listings differ, by path; a file that is at another place is one difference."""
    gone = {path: mark for path, mark in old.items() if path not in new}
    come = {path: mark for path, mark in new.items() if path not in old}
    moved = dict(_moved(gone, come))
    for path in sorted({*old, *new}):
        if path in moved.values():
            continue
        if path in moved:
            yield Cause(kind=CauseKind.RENAMED, what=path, old=path, new=moved[path])
        elif path in gone:
            yield Cause(kind=CauseKind.REMOVED, what=path)
        elif path in come:
            yield Cause(kind=CauseKind.ADDED, what=path)
        elif old[path] != new[path]:
            yield _difference(path, old[path], new[path])


def _moved(gone: Mapping[str, FileMark], come: Mapping[str, FileMark]) -> Iterable[tuple[str, str]]:
    """Pair files that are gone with new ones that are the same; empty ones are too much alike."""
    places: dict[FileMark, list[str]] = {}
    for path in sorted(come, reverse=True):
        places.setdefault(come[path], []).append(path)
    for path in sorted(gone):
        mark = gone[path]
        is_telling = mark[0] == stat.S_IFREG and mark[4] != _EMPTY
        if is_telling and places.get(mark):
            yield path, places[mark].pop()


_EMPTY = hashlib.sha256().digest()[:8]


def _difference(path: str, old: FileMark, new: FileMark) -> Cause:
    if old[0] | _UNREAD != new[0] | _UNREAD:
        types = (_TYPES.get(mark[0] & ~_UNREAD, "file of another type") for mark in (old, new))
        return Cause(
            kind=CauseKind.TYPE, what=path, **dict(zip(("old", "new"), types, strict=True))
        )
    if (old[0], old[4]) != (new[0], new[4]):
        return Cause(kind=CauseKind.CHANGED, what=path, old=_content(old), new=_content(new))
    if old[1] != new[1]:
        return Cause(kind=CauseKind.MODE, what=path, old=f"{old[1]:04o}", new=f"{new[1]:04o}")
    if old[2:4] != new[2:4]:
        return Cause(
            kind=CauseKind.OWNER, what=path, old=f"{old[2]}:{old[3]}", new=f"{new[2]}:{new[3]}"
        )
    return Cause(kind=CauseKind.CONTENT, what=path, old="its extended attributes")


def _content(mark: FileMark) -> str:
    if mark[0] & _UNREAD:
        return f"{int.from_bytes(mark[4], 'big')} bytes"
    return f"sha256:{mark[4].hex()[:12]}…"
