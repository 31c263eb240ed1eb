"""The wire format of Protocol Buffers, as far as the messages that we keep and read need it.

A message is written from its fields, in their order, and read into them; what a field means is said by who
asks. Builds write such messages (`history`), so it costs them nothing: the library for it takes 30 ms to
be imported.

Source: the encoding chapter of the documentation of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.errors import IntegrityError

__all__ = ["Message", "Value", "field", "fields", "present", "present_number", "time_field"]

Value = int | bytes
"""What a field holds as it is read: a varint, or bytes (texts and messages)."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_DIGITS = 10
_MICRO = 1_000_000
_NANO = 1_000_000_000


def field(number: int, value: int | bool | bytes | str) -> bytes:
    """Return a field with its number; one that has the default (0, false, nothing) is left out, as proto3 does.

    Integers are int64: negative ones take ten bytes.
    """
    if not value:
        return b""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(int(value) & (1 << 64) - 1)
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def present(number: int, message: bytes) -> bytes:
    """Return a field that holds a message, even an empty one."""
    return field(number, message) or _varint(number << 3 | _BYTES) + b"\0"


def present_number(number: int, value: int) -> bytes:
    """Return a field that holds a number, even 0: one of several fields of which one is chosen."""
    return field(number, value) or _varint(number << 3 | _VARINT) + b"\0"


def time_field(number: int, seconds: float | None) -> bytes:
    """Return a field that is a time (google.protobuf.Timestamp), given in seconds since the epoch; none for None."""
    if seconds is None:
        return b""
    whole, part = divmod(round(seconds * _MICRO), _MICRO)
    return field(number, field(1, whole) + field(2, part * 1000))


class Message:
    """A message that is read: the values of its fields by their numbers, those of a repeated one in their order."""

    def __init__(self, data: Value) -> None:
        """Read it. Raises IntegrityError."""
        if isinstance(data, int):
            raise IntegrityError("a message has a number in the place of another message")
        self._fields: dict[int, list[Value]] = {}
        for number, value in fields(data):
            self._fields.setdefault(number, []).append(value)

    def all(self, number: int) -> list[bytes]:
        """Return all values of a field that holds bytes, texts or messages."""
        return [each for each in self._fields.get(number, ()) if isinstance(each, bytes)]

    def bytes(self, number: int) -> bytes:
        """Return the last value of a field, b"" without one."""
        return next(reversed(self.all(number)), b"")

    def text(self, number: int) -> str:
        """Return a text."""
        return self.bytes(number).decode("utf-8", "replace")

    def texts(self, number: int) -> tuple[str, ...]:
        """Return all texts of a field."""
        return tuple(each.decode("utf-8", "replace") for each in self.all(number))

    def integer(self, number: int) -> int:
        """Return an int64, 0 without one."""
        found = [each for each in self._fields.get(number, ()) if isinstance(each, int)]
        return _signed(found[-1]) if found else 0

    def integers(self, number: int) -> tuple[int, ...]:
        """Return all int64s of a field, which may be packed."""
        found: list[int] = []
        for each in self._fields.get(number, ()):
            if isinstance(each, int):
                found.append(_signed(each))
                continue
            at = 0
            while at < len(each):
                value, at = _read_varint(each, at)
                found.append(_signed(value))
        return tuple(found)

    def messages(self, number: int) -> Iterator[Message]:
        """Yield the messages of a field."""
        return map(Message, self.all(number))

    def time(self, number: int) -> float | None:
        """Return a time in seconds since the epoch, None without one."""
        found = self.all(number)
        if not found:
            return None
        told = Message(found[-1])
        return told.integer(1) + told.integer(2) / _NANO


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the number and value of each field of a message. Raises IntegrityError where it is cut off or damaged."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        value: Value
        if kind == _VARINT:
            value, at = _read_varint(data, at)
        elif kind == _BYTES:
            size, at = _read_varint(data, at)
            value, at = _cut(data, at, size)
        elif kind in {_FIXED64, _FIXED32}:
            value, at = _cut(data, at, 8 if kind == _FIXED64 else 4)
        else:
            raise IntegrityError(f"a message has a field of kind {kind}, which there isn't")
        yield key >> 3, value


def _cut(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if size > len(data) - at:
        raise IntegrityError("a message ends within a field")
    return data[at : at + size], at + size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for digit in range(_MOST_DIGITS):
        if at >= len(data):
            raise IntegrityError("a message ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * digit
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise IntegrityError("a number in a message has more than 64 bits")
