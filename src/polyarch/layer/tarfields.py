"""The fields of tar headers: numbers in their forms, each checked for its range, and PAX records.

Whatever can't be read is an InvalidLayer that says which text; the reader adds of which entry. Texts that Go's
reader refuses are refused here, too (signs, underscores and other digits, which `int` would take).

Sources: POSIX.1-2017 pax, "pax Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable

from polyarch.errors import InvalidLayer
from polyarch.pattern import pattern

__all__ = [
    "MAX_SIZE",
    "are_in_order",
    "byte_sum",
    "decimal",
    "device_number",
    "nanoseconds",
    "number",
    "owner_id",
    "parse_records",
    "size_of",
    "sparse_numbers",
    "time_of",
]

MAX_SIZE = (1 << 63) - 1
_SECOND = 1_000_000_000
_IDS = 1 << 32
_NO_ID = _IDS - 1
_DECIMAL = pattern(rb"[+-]?[0-9]{1,19}")
_TIME = pattern(rb"([+-]?[0-9]{1,19})(?:\.([0-9]*))?")
_SPARSE_PAIR = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


def byte_sum(data: bytes) -> int:
    """Add up the bytes of a header, or of a part of it: 512 at most.

    The lower half of an Adler-32 is the sum of all bytes and 1, modulo 65521, in a tenth of the time
    that Python takes to add them; 512 bytes of ASCII can't reach that.
    """
    return (zlib.adler32(data) & 0xFFFF) - 1 if data.isascii() else sum(data)


def number(text: bytes) -> int:
    """Read a header's number: octal digits, or GNU's base 256 for what is too large for them."""
    if text[0] & 0x80:
        found = int.from_bytes(text, "big")
        bits = 8 * len(text)
        return found - (1 << bits) if text[0] == 0xFF else found - (1 << (bits - 1))
    digits = text.rstrip(b" \0")
    try:
        # Nearly all are of this form, and there are seven in each header.
        if digits.isdigit():
            return int(digits, 8)
        digits = digits.lstrip(b" \0").partition(b"\0")[0].rstrip(b" ")
        if not digits:
            return 0
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass  # an 8 or a 9
    raise InvalidLayer(f"{digits!r} in a tar header is no number")


def decimal(text: bytes) -> int:
    """Read a number of a PAX record, of up to 19 digits. Raises InvalidLayer."""
    if not _DECIMAL.fullmatch(text):
        raise InvalidLayer(f"{_short(text)} in a PAX record is no number")
    return int(text)


def nanoseconds(text: bytes) -> int:
    """Read the time of a PAX record, in nanoseconds since the epoch. Raises InvalidLayer."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise InvalidLayer(f"{_short(text)} in a PAX record is no time")
    seconds, fraction = found.groups(b"")
    rest = int(fraction[:9].ljust(9, b"0"))
    return int(seconds) * _SECOND + (-rest if seconds.startswith(b"-") else rest)


def size_of(found: int) -> int:
    """Return a size in bytes. Raises InvalidLayer for one that no file can have."""
    if not 0 <= found <= MAX_SIZE:
        raise InvalidLayer(f"a size of {found} bytes can't be")
    return found


def owner_id(found: int) -> int:
    """Return the id of a user or group. Raises InvalidLayer for what has more than 32 bits.

    Some write large ids as negative numbers. Of -1, which the kernel takes for "leave it", nothing is left
    but root, as with BuildKit.
    """
    if 0 <= found < _NO_ID:
        return found
    if not -(_IDS >> 1) <= found < _IDS:
        raise InvalidLayer(f"{found} is no id of a user or group")
    found %= _IDS
    return 0 if found == _NO_ID else found


def device_number(found: int, bits: int) -> int:
    """Return half of a device's number. Raises InvalidLayer for what Linux has no room for."""
    if not 0 <= found < 1 << bits:
        raise InvalidLayer(f"{found} is no number of a device")
    return found


def time_of(found: int) -> int:
    """Return a time that files get, in nanoseconds: what isn't between 1970 and 2262 becomes 1970.

    So it is with containerd and BuildKit: their times are 64 bits of nanoseconds.
    """
    return found if 0 <= found <= MAX_SIZE else 0


def parse_records(body: bytes, sparse_pairs: list[int]) -> dict[str, bytes]:
    """Read PAX records; the pairs of sparse format 0.0, whose keys repeat, go to `sparse_pairs`.

    Raises InvalidLayer.
    """
    records: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        blank = body.find(b" ", at, at + 20)
        length = body[at:blank] if blank > 0 else b""
        size = int(length) if length.isdigit() else 0
        record = body[blank + 1 : at + size]
        key, equals, value = record.partition(b"=")
        if size <= 0 or not equals or not value.endswith(b"\n") or at + size > len(body):
            if not body[at:].strip(b"\0"):
                break
            raise InvalidLayer("a PAX record can't be read")
        if key in _SPARSE_PAIR:
            sparse_pairs.append(decimal(value[:-1]))
        else:
            records[os.fsdecode(key)] = value[:-1]
        at += size
    return records


def sparse_numbers(text: bytes) -> list[int]:
    """Read the pairs of an old GNU sparse map: offsets and lengths, up to the first that isn't there."""
    numbers = []
    for at in range(0, len(text) - 23, 24):
        if not text[at]:
            break
        numbers += [number(text[at : at + 12]), number(text[at + 12 : at + 24])]
    return numbers


def _short(text: bytes) -> str:
    return repr(text if len(text) <= 40 else text[:40] + b"...")


def are_in_order(parts: Iterable[tuple[int, int]], size: int) -> bool:
    """Whether the parts of a sparse file, offsets and lengths, follow one another within its size."""
    end = 0
    for offset, length in parts:
        if offset < end or length < 0 or offset + length > size:
            return False
        end = offset + length
    return True
