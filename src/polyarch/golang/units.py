"""Sizes and rough durations, as listings, progress and flags write them.

Four notations live side by side in docker: `du` counts in powers of 1000 with four digits, `inspect`
in powers of 1024, progress in powers of 1000 with two decimals, and flags in powers of 1024 that are
spelled like powers of 1000. Source: documentation and behaviour of docker/go-units, whose names the functions
have, and of tonistiigi/units, which are formats of fmt (`progress_size`, `limit_size`).
"""

from __future__ import annotations

from polyarch.errors import InputError
from polyarch.golang.strconv import parse_float

__all__ = [
    "bytes_size",
    "human_duration",
    "human_size",
    "limit_size",
    "progress_size",
    "ram_in_bytes",
]

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_FACTORS = {letter: 1 << 10 * (power + 1) for power, letter in enumerate("kmgtp")}
_LOWEST_INT64 = -(1 << 63)

_MINUTE = 60
_HOUR = 60 * _MINUTE
_HOURS_PER_DAY = 24


def human_size(size: float) -> str:
    """Write a number of bytes with four digits, in powers of 1000: `1.024kB`."""
    return _four_digits(size, 1000.0, _DECIMAL)


def bytes_size(size: float) -> str:
    """Write a number of bytes with four digits, in powers of 1024: `1.5KiB`."""
    return _four_digits(size, 1024.0, _BINARY)


def _four_digits(size: float, base: float, names: tuple[str, ...]) -> str:
    number, power = float(size), 0
    while number >= base and power < len(names) - 1:
        number, power = number / base, power + 1
    return f"{number:.4g}{names[power]}"


def progress_size(size: int) -> str:
    """Write a number of bytes with two decimals, in powers of 1000: `1.02kB`; below, whole bytes."""
    power = min(max(0, (len(str(abs(size))) - 1) // 3), len(_DECIMAL) - 1)
    if power == 0:
        return f"{size}B"
    return f"{size / 1000**power:.2f}{_DECIMAL[power]}"


def limit_size(size: int) -> str:
    """Write a limit in bytes, in powers of 1024 and with no digit too many: `2MiB`, `1.5KiB`."""
    power = min(max(0, (abs(size).bit_length() - 1) // 10), len(_BINARY) - 1)
    number = repr(size / 1024**power)
    return number.removesuffix(".0") + _BINARY[power]


def human_duration(seconds: float) -> str:
    """Write a duration in seconds in words, with one unit: `About an hour`, `3 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < _MINUTE:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if whole < _HOUR:
        minutes = whole // _MINUTE
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    return _rough_hours(seconds / _HOUR)


def _rough_hours(exact: float) -> str:
    hours = int(exact + 0.5)
    days = hours // _HOURS_PER_DAY
    if hours == 1:
        return "About an hour"
    if hours < 2 * _HOURS_PER_DAY:
        return f"{hours} hours"
    if days < 2 * 7:
        return f"{days} days"
    if days < 2 * 30:
        return f"{days // 7} weeks"
    if days < 2 * 365:
        return f"{days // 30} months"
    # Years are counted from the hours that have passed in full, unlike everything shorter.
    return f"{int(exact) // _HOURS_PER_DAY // 365} years"


def ram_in_bytes(text: str) -> int:
    """Read a size such as `64m`, `1.5 GiB` or `100`; `k` and `kB` are 1024 here.

    Raises InputError with go-units' message. What is more than 64 bits becomes the lowest number, as
    it does in Go on x86: users never see it, but the same flag must not mean two things.
    """
    end = max((text.rfind(char) for char in "0123456789. "), default=-1)
    if end < 0:
        raise InputError(f"invalid size: '{text}'")
    digits = text[:end] if text[end] == " " else text[: end + 1]
    number = parse_float(digits)
    if number < 0:
        raise InputError(f"invalid size: '{text}'")
    size = number * _factor(text[end + 1 :])
    return _LOWEST_INT64 if size >= 1 << 63 else int(size)


def _factor(suffix: str) -> int:
    if suffix == "":
        return 1
    too_long = len(suffix.encode("utf-8", "surrogateescape")) > 3
    lower = suffix if too_long else suffix.lower()
    if lower == "b":
        return 1
    factor = _FACTORS.get(lower[0])
    if too_long or factor is None or lower[1:] not in {"", "b", "ib"}:
        raise InputError(f"invalid suffix: '{lower}'")
    return factor
