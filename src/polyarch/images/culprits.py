"""Why a file isn't the same in two builds: the causes that are known, by its path and by what differs in it.

Paths come first: what a package manager or a cache writes has a remedy of its own. Else the contents tell of their cause:
the same lines in another order, moments of the build in them, or values that look made up.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from polyarch.images.comparing import FileDifference
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["Cause", "Moments", "find_cause"]


@frozen
class Cause:
    """A cause by its kind (time, random, order, log, byte-code, cache, ...), what it is, and what to do about it."""

    kind: str
    text: str
    remedy: str


@frozen
class Moments:
    """From when to when, in seconds since the epoch, the builds took place."""

    start: float
    end: float


_EPOCH = "--build-arg SOURCE_DATE_EPOCH=SECONDS and --output type=image,rewrite-timestamp=true"
_IDENTITY = Cause(
    kind="random",
    text="an identity or a key is made anew in each build",
    remedy="don't make it at build time: remove it in the same RUN, and have it made when the "
    "container first starts",
)
_PATHS: tuple[tuple[str, Cause], ...] = (
    (
        r"/var/cache/ldconfig/aux-cache\Z",
        Cause(
            kind="cache",
            text="ldconfig keeps the inodes and times of libraries there",
            remedy="remove /var/cache/ldconfig/aux-cache in the same RUN; nothing needs it",
        ),
    ),
    (
        r"(?:__pycache__/.*|\.py[co])\Z",
        Cause(
            kind="byte-code",
            text="Python's byte-code has the time of its source in it",
            remedy="set PYTHONDONTWRITEBYTECODE=1 for the RUN (pip: --no-compile), or compile with "
            "python -m compileall --invalidation-mode unchecked-hash",
        ),
    ),
    (
        r"\.elc\Z",
        Cause(
            kind="byte-code",
            text="byte-code of Emacs has times in it",
            remedy="remove it in the same RUN, or set SOURCE_DATE_EPOCH for the step",
        ),
    ),
    (
        r"/(?:var/log/.*|.*\.log|_logs/.*)\Z",
        Cause(
            kind="log",
            text="a log tells when things were done",
            remedy="remove it in the same RUN, such as rm -rf /var/log/*, or write it to /dev/null",
        ),
    ),
    (
        r"/var/(?:cache|lib)/apt/|/var/cache/debconf/|/var/lib/dpkg/.*-old\Z",
        Cause(
            kind="package manager",
            text="apt and debconf keep lists and caches with times there",
            remedy="remove them in the same RUN (rm -rf /var/lib/apt/lists/* /var/cache/apt/* "
            "/var/cache/debconf/*-old), or mount caches there: RUN --mount=type=cache",
        ),
    ),
    (
        r"/(?:var/cache/(?:apk|dnf|yum|pacman|zypp)|lib/apk/db|usr/lib/apk/db|var/lib/(?:dnf|rpm|yum)|usr/lib/sysimage/rpm)/",
        Cause(
            kind="package manager",
            text="the package manager notes when it installed what",
            remedy="remove its caches in the same RUN; its database can be made the same by "
            "SOURCE_DATE_EPOCH as an ARG of the stage, with newer versions of it",
        ),
    ),
    (
        r"/(?:\.npm|\.cache|\.cargo/registry|\.gem|\.composer|\.m2|\.gradle|node_modules/\.cache)/",
        Cause(
            kind="package manager",
            text="a package manager's cache has times and random names in it",
            remedy="keep it out of the layer: RUN --mount=type=cache,target=… for that directory",
        ),
    ),
    (
        r"/(?:etc/machine-id|var/lib/dbus/machine-id|var/lib/systemd/random-seed)\Z",
        _IDENTITY,
    ),
    (
        r"/(?:etc/ssh/ssh_host_.*_key(?:\.pub)?|etc/ssl/private/.*|.*\.pem)\Z",
        _IDENTITY,
    ),
    (
        r"/etc/(?:shadow|gshadow)-?\Z",
        Cause(
            kind="time",
            text="the day of the last change of a password stands in it",
            remedy="make users by lines of your own in /etc/passwd, or chage --lastday 0 afterwards",
        ),
    ),
    (
        r"/var/cache/fontconfig/|/var/cache/man/|/usr/share/(?:mime|icons|applications)/.*cache\Z",
        Cause(
            kind="cache",
            text="a cache of the system has times of files in it",
            remedy="remove it in the same RUN; it is made again when it is needed",
        ),
    ),
)
_STAMP = pattern(rb"(?<!\d)(1[0-9]{9})(?:\.?\d{3,9})?(?!\d)")
_DATE = pattern(
    rb"(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|\d\d? (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\w* \d{4}"
    rb"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\w* +\d\d?)"
)
_CODE = pattern(rb"[0-9A-Fa-f]{8,}|[A-Za-z0-9+/_=-]{16,}")
_ARCHIVES = {
    b"\x1f\x8b": "gzip writes the time of the file: use gzip -n",
    b"PK\x03\x04": "zip and jar write the times of the files: set them before (touch -d @0), or use a "
    "reproducible mode of the tool",
    b"!<arch>": "ar writes the times of the files: use ar D (and ranlib -D)",
}
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_TEXT = frozenset({*range(32, 127), *b"\t\r\n"})
_FEW = 16
_SLACK = 26 * 3600.0
_TIME = Cause(
    kind="time",
    text="",
    remedy="write no time of the build, or that of SOURCE_DATE_EPOCH (an ARG of the stage hands it to steps)",
)
_ORDER = Cause(
    kind="order",
    text="the same parts are in another order",
    remedy="sort what is listed (LC_ALL=C sort): directories, sets and parallel work have no order",
)
_RANDOM = Cause(
    kind="random",
    text="the differing bytes look made up",
    remedy="give the tool a fixed seed or name, or make the value when the container starts",
)
_UNKNOWN = Cause(
    kind="unknown",
    text="the content differs",
    remedy="compare both files: polyarch build -o type=local,dest=DIR, twice",
)


def find_cause(file: FileDifference, moments: Moments) -> Cause:
    """Return the likeliest cause of a difference."""
    if file.what == "its time":
        remedy = f"cut off times by {_EPOCH}"
        return Cause(kind="time", text="only the time of the file differs", remedy=remedy)
    for path, cause in _PATHS:
        if re.search(path, file.path):
            return cause
    if file.what.startswith("its "):
        return Cause(kind="metadata", text=f"{file.what} differs", remedy=_UNKNOWN.remedy)
    if file.first is None or file.second is None:
        return Cause(
            kind="random" if _CODE.search(file.path.rpartition("/")[2].encode()) else "unknown",
            text=file.what,
            remedy="look at how its name, or whether it is made, is decided on",
        )
    return _by_content(file.first, file.second, moments)


def _by_content(first: bytes, second: bytes, moments: Moments) -> Cause:
    if _is_reordered(first, second):
        return _ORDER
    for magic, remedy in _ARCHIVES.items():
        if first.startswith(magic) and second.startswith(magic):
            return Cause(kind="time", text="an archive holds times of its members", remedy=remedy)
    pieces = list(_differing(first, second))
    moment = next(filter(None, (_moment(*piece, moments) for piece in pieces)), "")
    if moment:
        return Cause(
            kind=_TIME.kind, text=f"a moment of the build is in it: {moment}", remedy=_TIME.remedy
        )
    return _RANDOM if _looks_random(pieces) else _UNKNOWN


def _is_reordered(first: bytes, second: bytes) -> bool:
    """Tell whether both have the same lines, words, or bytes where there are few, in another order."""
    if len(first) != len(second):
        return False
    for parts in (bytes.splitlines, bytes.split, lambda data: re.split(rb"[^\w.-]+", data)):
        ours, theirs = parts(first), parts(second)
        if len(ours) > 1 and ours != theirs and Counter(ours) == Counter(theirs):
            return True
    return False


def _differing(first: bytes, second: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the lines that differ, in pairs; a binary file is cut where long runs are the same."""
    ours, theirs = first.split(b"\n"), second.split(b"\n")
    if len(ours) != len(theirs):
        yield first, second
        return
    for one, other in zip(ours, theirs, strict=True):
        if one != other:
            yield one, other


def _moment(one: bytes, other: bytes, moments: Moments) -> str:
    """Return a moment of one of the builds that stands in a line, where the other line has another one."""
    stamps = [set(map(int, _STAMP.findall(line))) for line in (one, other)]
    for stamp in sorted(stamps[0] ^ stamps[1]):
        if moments.start - _SLACK <= stamp <= moments.end + _SLACK:
            return str(stamp)
    dates = [set(_DATE.findall(line)) for line in (one, other)]
    for date in sorted(dates[0] ^ dates[1]):
        return str(date, errors="replace")
    return _packed_moment(one, other, moments)


def _packed_moment(one: bytes, other: bytes, moments: Moments) -> str:
    """Find a time of 4 bytes, as binary formats have it, at the first byte that differs."""
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    for start in range(max(0, at - 3), at + 1):
        for order in _ORDERS:
            values = [int.from_bytes(line[start : start + 4], order) for line in (one, other)]
            if all(moments.start - _SLACK <= value <= moments.end + _SLACK for value in values):
                return str(values[0])
    return ""


def _looks_random(pieces: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether what differs is codes, or bytes of which none is much likelier than others."""
    for one, other in pieces:
        codes = [set(_CODE.findall(line)) for line in (one, other)]
        if codes[0] - codes[1] and codes[1] - codes[0]:
            return True
    joined = b"".join(one for one, _ in pieces)
    # Words are as varied as short random texts: only of binary content does that tell something.
    if len(joined) < _FEW or not set(joined) - _TEXT:
        return False
    counts = Counter(joined)
    entropy = -sum(n / len(joined) * math.log2(n / len(joined)) for n in counts.values())
    return entropy > 0.75 * math.log2(min(len(joined), 256))
