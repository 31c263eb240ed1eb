"""Numbers of HCL: binary floating point of a given precision, as Go's `big.Float` has it.

Literals have 512 bits, counts 64, and results of `pow` and `log` 53; a result has the greater precision of its
operands. Texts are the shortest that lead back to the same number. Source: documentation of Go's math/big.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from polyarch.pattern import pattern

__all__ = ["Num", "from_float", "from_int", "parse", "rounded", "text", "text_general"]

LITERAL_BITS = 512
_COUNT_BITS = 64
_FLOAT_BITS = 53
_MOST_EXPONENT = 20_000
"""More digits than that are no number of a bake file, and would take minutes to work out."""
_NUMBER = pattern(r"([+-]?)(\d+(?:_?\d)*\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?\Z")
_GENERAL_DIGITS = 6


class Num(NamedTuple):
    """A number; `infinite` is the sign of an infinity, else 0. `minus_zero` is a zero that is written with a sign."""

    value: Fraction
    bits: int = LITERAL_BITS
    infinite: int = 0
    minus_zero: bool = False

    @property
    def is_negative(self) -> bool:
        """Whether it has a minus."""
        return self.value < 0 or self.infinite < 0 or self.minus_zero

    @property
    def is_integer(self) -> bool:
        """Whether it is a whole number."""
        return not self.infinite and self.value.denominator == 1

    def key(self) -> tuple[int, Fraction]:
        """Return what numbers are ordered by."""
        return self.infinite, self.value


def from_int(number: int, bits: int = _COUNT_BITS) -> Num:
    """Return a whole number."""
    return Num(Fraction(number), max(bits, number.bit_length()))


def from_float(number: float) -> Num:
    """Return a number of double precision. Raises ValueError for NaN."""
    if number in {float("inf"), float("-inf")}:
        return Num(Fraction(0), _FLOAT_BITS, 1 if number > 0 else -1)
    return Num(Fraction(number), _FLOAT_BITS)


def parse(source: str) -> Num:
    """Read a decimal number. Raises ValueError."""
    match = _NUMBER.match(source)
    if match is None:
        raise ValueError(source)
    sign, digits, exponent = match.groups()
    power = int(exponent or 0)
    if abs(power) > _MOST_EXPONENT or len(digits) > _MOST_EXPONENT:
        raise ValueError(source)
    value = Fraction(digits.replace("_", "")) * Fraction(10) ** power
    value = rounded(-value if sign == "-" else value, LITERAL_BITS)
    return Num(value, minus_zero=sign == "-" and not value)


def rounded(value: Fraction, bits: int) -> Fraction:
    """Round to so many binary digits, to the nearest even one."""
    top, bottom = abs(value.numerator), value.denominator
    if top.bit_length() <= bits and bottom & (bottom - 1) == 0:
        return value
    exponent = top.bit_length() - bottom.bit_length() - bits
    scaled = Fraction(top, bottom) / Fraction(2) ** exponent
    if scaled >= 1 << bits:
        exponent += 1
        scaled /= 2
    result = round(scaled) * Fraction(2) ** exponent
    return -result if value < 0 else result


def _shortest(num: Num) -> tuple[str, int]:
    """Return the fewest digits that lead back to a number other than 0, and where the decimal point is."""
    value = abs(num.value)
    # The power of ten of the first digit.
    size = len(str(value.numerator)) - len(str(value.denominator))
    first = size if value >= Fraction(10) ** size else size - 1
    most = int(num.bits * 0.30103) + 2
    for count in range(1, most + 1):
        unit = Fraction(10) ** (first - count + 1)
        digits = round(value / unit)
        if rounded(digits * unit, num.bits) == value or count == most:
            shown = str(digits)
            return shown.rstrip("0") or "0", first + 1 + (len(shown) - count)
    raise AssertionError("unreachable")


def _sign(num: Num) -> str:
    return "-" if num.value < 0 else ""


def text(num: Num) -> str:
    """Write a number without an exponent."""
    if num.infinite:
        return "+Inf" if num.infinite > 0 else "-Inf"
    if num.is_integer and abs(num.value.numerator).bit_length() < num.bits - 4:
        return "-0" if num.minus_zero else str(num.value.numerator)
    return _sign(num) + _plain(*_shortest(num))


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def text_general(num: Num) -> str:
    """Write a number as `%v` does: with an exponent from a million on."""
    if num.infinite or num.value == 0:
        return text(num)
    digits, point = _shortest(num)
    if -4 <= point - 1 < max(_GENERAL_DIGITS, 0) or (num.is_integer and point <= _GENERAL_DIGITS):
        return _sign(num) + _plain(digits, point)
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{_sign(num)}{digits[0]}{rest}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"
