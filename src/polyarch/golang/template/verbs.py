"""Values by verbs and flags: what one directive of `printf` makes of its argument.

A verb that a value doesn't have shows as `%!d(string=a)`. `%x`, `%X` and `%b` of floats are taken for such
verbs; Go has them. Source: the documentation of Go's package fmt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from polyarch.golang.strconv import can_backquote, quote, quote_rune, quote_to_ascii, rune
from polyarch.golang.template.values import GoValue, Value, float_text, is_list, type_name
from polyarch.record import frozen

__all__ = ["Flags", "formatted"]

_BASES = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}


@frozen
class Flags:
    """What stands between `%` and the verb; `width` and `precision` are -1 if there is none."""

    minus: bool = False
    plus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    width: int = -1
    precision: int = -1
    is_source: bool = False
    """`%#v`: as Go source has it."""

    def padded(self, text: str, *, zeros: bool = True) -> str:
        """Bring a text to the width; with zeros if the flags say so, and `zeros` that it may."""
        if self.minus:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if self.zero and zeros else " ")

    def sign(self, *, is_negative: bool) -> str:
        """Return what stands before a number."""
        return "-" if is_negative else "+" if self.plus else " " if self.space else ""


def formatted(flags: Flags, verb: str, value: Value) -> str:
    """Write an argument."""
    if value is None:
        return flags.padded("<nil>") if verb in "vT" else f"%!{verb}(<nil>)"
    if verb == "T":
        return _text(flags, "s", type_name(value)) or ""
    return _value(flags, verb, value)


def _value(flags: Flags, verb: str, value: Value) -> str:
    """Write a value, which may be one of a list or a map."""
    if value is None:
        return "interface {}(nil)" if flags.is_source else "<nil>"
    if not isinstance(value, GoValue) and verb != "w":
        if isinstance(value, Mapping):
            items = [
                f"{_value(flags, verb, key)}:{_value(flags, verb, value[key])}"
                for key in sorted(value)
            ]
            return _several(flags, value, items, "map[]")
        if is_list(value):
            assert isinstance(value, Sequence)
            return _several(flags, value, [_value(flags, verb, item) for item in value], "[]")
    written = _plain(flags, verb, value)
    if written is None:
        return f"%!{verb}({type_name(value)}={_value(flags, 'v', value)})"
    return written


def _several(flags: Flags, value: Value, items: Sequence[str], around: str) -> str:
    if flags.is_source:
        return f"{type_name(value)}{{{', '.join(items)}}}"
    return f"{around[:-1]}{' '.join(items)}]"


def _plain(flags: Flags, verb: str, value: Value) -> str | None:
    """Write one value; None if the verb isn't for it."""
    if isinstance(value, GoValue):
        text = value.go_text()
        if value.is_struct:
            return text if verb in "vs" else None
        return _text(flags, verb, text)
    if isinstance(value, bool):
        return flags.padded(str(value).lower()) if verb in "tv" else None
    if isinstance(value, str):
        return _text(flags, verb, value)
    if isinstance(value, int):
        return _integer(flags, verb, value)
    return _float(flags, verb, value) if isinstance(value, float) else None


def _text(flags: Flags, verb: str, text: str) -> str | None:
    if verb in "xX":
        return _hexadecimal(flags, verb, text.encode("utf-8", "surrogateescape"))
    text = text if flags.precision < 0 else text[: flags.precision]
    if verb == "q" or (verb == "v" and flags.is_source):
        if flags.sharp and can_backquote(text):
            return flags.padded(f"`{text}`")
        return flags.padded(quote_to_ascii(text) if flags.plus else quote(text))
    return flags.padded(text) if verb in "sv" else None


def _hexadecimal(flags: Flags, verb: str, data: bytes) -> str:
    data = data if flags.precision < 0 else data[: flags.precision]
    prefix = f"0{verb}" if flags.sharp else ""
    digits = [f"{byte:02{verb}}" for byte in data]
    if flags.space:
        return flags.padded(" ".join(prefix + each for each in digits))
    return flags.padded(prefix * bool(data) + "".join(digits))


def _integer(flags: Flags, verb: str, value: int) -> str | None:
    match verb:
        case "c":
            return flags.padded(rune(value))
        case "q":
            return flags.padded(quote_rune(value, ascii_only=flags.plus))
        case "U":
            return _unicode(flags, value)
        case _ if verb in _BASES:
            return _number(flags, verb, value)
        case _:
            return None


def _number(flags: Flags, verb: str, value: int) -> str:
    least = flags.precision
    if least == 0 and value == 0:
        return flags.padded("", zeros=False)
    sign = flags.sign(is_negative=value < 0)
    if least < 0 and flags.zero and not flags.minus:
        least = flags.width - len(sign)
    digits = f"{abs(value):{_BASES[verb]}}".rjust(least, "0")
    return flags.padded(sign + _prefix(flags, verb, digits) + digits, zeros=False)


def _prefix(flags: Flags, verb: str, digits: str) -> str:
    prefix = ""
    if flags.sharp and verb in "bxX":
        prefix = f"0{verb}"
    elif flags.sharp and verb in "oO" and not digits.startswith("0"):
        prefix = "0"
    return f"0o{prefix}" if verb == "O" else prefix


def _unicode(flags: Flags, value: int) -> str:
    number = value % (1 << 64)
    text = f"U+{number:0{max(4, flags.precision)}X}"
    if flags.sharp and number < 0x110000 and chr(number).isprintable():
        text += f" '{chr(number)}'"
    return flags.padded(text, zeros=False)


def _float(flags: Flags, verb: str, value: float) -> str | None:
    if verb not in "vgGeEfF":
        return None
    sign = flags.sign(is_negative=math.copysign(1.0, value) < 0)
    if math.isnan(value):
        return flags.padded(f"{sign}NaN", zeros=False)
    if math.isinf(value):
        return flags.padded(f"{sign or '+'}Inf", zeros=False)
    digits = _digits(flags, "g" if verb == "v" else verb, abs(value))
    if flags.zero and not flags.minus:
        digits = digits.rjust(flags.width - len(sign), "0")
    return flags.padded(sign + digits)


def _digits(flags: Flags, verb: str, value: float) -> str:
    precision = flags.precision
    if precision < 0 and verb in "gG":
        text = float_text(value).upper() if verb == "G" else float_text(value)
    else:
        text = f"{value:.{6 if precision < 0 else precision}{verb.replace('F', 'f')}}"
    return _sharp(text, verb, precision) if flags.sharp else text


def _sharp(text: str, verb: str, precision: int) -> str:
    """Write a point in any case, and with `g` leave out no digit that was asked for."""
    mantissa, mark, exponent = text.partition("E" if verb in "EG" else "e")
    mantissa += "" if "." in mantissa else "."
    if verb in "gG":
        significant = len(mantissa.replace(".", "").lstrip("0")) or 1
        mantissa += "0" * ((6 if precision < 0 else precision) - significant)
    return mantissa + mark + exponent
