r"""Go's `strconv`: texts -> truth values and numbers, with Go's errors; texts -> quoted texts and back.

What flags of docker accept is what these accept ("T" is true, "1_000" isn't a whole number but a float), and
scripts search logs for the messages. Bytes outside UTF-8 are surrogate escapes here, and `\xff` in Go's
words. Source: the documentation of Go's package strconv.
"""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.errors import InputError

__all__ = [
    "can_backquote",
    "find_bool",
    "parse_bool",
    "parse_float",
    "parse_int",
    "parse_uint",
    "quote",
    "quote_rune",
    "quote_to_ascii",
    "rune",
    "unquote",
    "unquote_char",
]

_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_SYNTAX = "invalid syntax"
_RANGE = "value out of range"
_LETTERS = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", "\\": "\\"}
_CODES = {letter: ord(char) for char, letter in _LETTERS.items()}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_DIGITS = "0123456789"
_REPLACEMENT = "\ufffd"


# --- truth values and numbers ---


def find_bool(text: str) -> bool | None:
    """Read a truth value: 1, t, T, TRUE, true, True or their opposites; None for anything else."""
    return _BOOLS.get(text)


def parse_bool(text: str) -> bool:
    """Read a truth value, as `find_bool`. Raises InputError for anything else."""
    found = _BOOLS.get(text)
    if found is None:
        raise _failure("ParseBool", text, _SYNTAX)
    return found


def parse_int(text: str, *, bits: int = 64) -> int:
    """Read a signed decimal number of so many bits. Raises InputError, also when it is out of range."""
    try:
        number = _value(text[1:] if text[:1] in {"+", "-"} else text, 10, bits)
    except ValueError as error:
        raise _failure("ParseInt", text, str(error)) from None
    number = -number if text.startswith("-") else number
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        raise _failure("ParseInt", text, _RANGE)
    return number


def parse_uint(text: str, *, base: int = 10, bits: int = 64) -> int:
    """Read a number without a sign. Raises InputError, also when it is out of range."""
    try:
        return _value(text, base, bits)
    except ValueError as error:
        raise _failure("ParseUint", text, str(error)) from None


def _value(digits: str, base: int, bits: int) -> int:
    """Return the value of digits. Raises ValueError with the reason, which is the first from the left.

    Python's int would take blanks, underscores and other scripts' digits.
    """
    if not digits:
        raise ValueError(_SYNTAX)
    number = 0
    for char in digits:
        digit = _DIGITS.find(char, 0, base)
        if digit < 0:
            raise ValueError(_SYNTAX)
        number = number * base + digit
        if number >> bits:
            raise ValueError(_RANGE)
    return number


def parse_float(text: str) -> float:
    """Read a decimal or hexadecimal number, with or without a fraction. Raises InputError.

    Infinities and NaN are numbers here; what is too large for one that is finite is out of range.
    """
    # Python reads the same decimal numbers, but for blanks around them, other digits and signs of NaN.
    unsigned = text[1:] if text[:1] in {"+", "-"} else text
    is_nan = unsigned[:1] in {"n", "N"}
    if not text.isascii() or text != text.strip() or (is_nan and unsigned != text):
        raise _failure("ParseFloat", text, _SYNTAX)
    try:
        number = _hex_value(text) if unsigned[:2] in {"0x", "0X"} else float(text)
    except ValueError:
        raise _failure("ParseFloat", text, _SYNTAX) from None
    except OverflowError:
        raise _failure("ParseFloat", text, _RANGE) from None
    if number in {float("inf"), float("-inf")} and unsigned[:1] not in {"i", "I"}:
        raise _failure("ParseFloat", text, _RANGE)
    return number


def _hex_value(text: str) -> float:
    """Read a hexadecimal number. Raises ValueError and OverflowError as float does."""
    prefix, _x, digits = text.lower().partition("x")
    if "p" not in digits:
        raise ValueError(text)
    # Go wants a digit on both sides of an underscore, where the prefix counts as one.
    parts = ("0" + digits).split("_")
    edges = "".join(part[:1] + part[-1:] for part in parts)[1:-1]
    if len(parts) > 1 and (not all(parts) or edges.strip(_DIGITS + "abcdef")):
        raise ValueError(text)
    return float.fromhex(f"{prefix}x{''.join(parts)[1:]}")


def _failure(function: str, text: str, reason: str) -> InputError:
    return InputError(f"strconv.{function}: parsing {quote(text)}: {reason}")


# --- quoted texts ---


def quote(text: str) -> str:
    """Write a text as a literal in double quotes, what can't be printed escaped; `%q` is the same."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([_escaped(char, '"') for char in text]) + '"'


def quote_to_ascii(text: str) -> str:
    """Write a text as `quote` does, with escapes for all that isn't ASCII."""
    return '"' + "".join([_escaped(char, '"', ascii_only=True) for char in text]) + '"'


def quote_rune(code: int, *, ascii_only: bool = False) -> str:
    """Write a code point as a literal in single quotes; those that are none become U+FFFD.

    With `ascii_only` as Go's QuoteRuneToASCII.
    """
    return "'" + _escaped(rune(code), "'", ascii_only=ascii_only) + "'"


def rune(code: int) -> str:
    """Return the character of a code point; U+FFFD for one that is none."""
    return chr(code) if 0 <= code < 0xD800 or 0xE000 <= code < 0x110000 else _REPLACEMENT


def can_backquote(text: str) -> bool:
    """Tell whether a text can stand between backquotes as it is."""
    return all(
        char == "\t"
        or (char >= " " and char not in "`\x7f\ufeff" and not "\ud800" <= char < "\ue000")
        for char in text
    )


def _escaped(char: str, mark: str, *, ascii_only: bool = False) -> str:
    if char == mark:
        return "\\" + mark
    if letter := _LETTERS.get(char):
        return "\\" + letter
    if char.isprintable() and (char.isascii() or not ascii_only):
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code < 0xDD00:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(literal: str) -> str:
    """Return the text that a literal in double quotes or backquotes stands for. Raises InputError."""
    mark, inside, end = literal[:1], literal[1:-1], literal[1:][-1:]
    if mark != end or mark not in {'"', "`"}:
        raise InputError(_SYNTAX)
    if mark == "`":
        if "`" in inside:
            raise InputError(_SYNTAX)
        return inside.replace("\r", "")
    if "\\" not in inside and '"' not in inside and "\n" not in inside:
        return inside
    # An escape with two hexadecimal or three octal digits is a byte: several make a character.
    data = b"".join(
        bytes((code,)) if is_byte else chr(code).encode("utf-8", "surrogateescape")
        for code, is_byte in _units(inside, mark)
    )
    return data.decode("utf-8", "surrogateescape")


def unquote_char(literal: str) -> int:
    """Return the code point that a literal in single quotes stands for. Raises InputError."""
    if len(literal) < 3 or literal[0] != "'" or literal[-1] != "'":
        raise InputError(_SYNTAX)
    codes = [code for code, _is_byte in _units(literal[1:-1], "'")]
    if len(codes) != 1:
        raise InputError(_SYNTAX)
    return codes[0]


def _units(text: str, mark: str) -> Iterator[tuple[int, bool]]:
    """Yield the numbers that the inside of a literal stands for, and whether each is that of a byte."""
    position = 0
    while position < len(text):
        char, letter = text[position], text[position + 1 : position + 2]
        if char != "\\":
            if char in {mark, "\n"}:
                raise InputError(_SYNTAX)
            yield ord(char), False
            position += 1
        elif letter in _CODES or letter == mark:
            yield _CODES.get(letter, ord(mark)), False
            position += 2
        else:
            code, is_byte, position = _numbered(text, position + 1)
            yield code, is_byte


def _numbered(text: str, start: int) -> tuple[int, bool, int]:
    """Read an escape of digits behind its backslash: the number, whether it is a byte's, and its end."""
    letter = text[start : start + 1]
    if width := _HEX_DIGITS.get(letter):
        start, base, allowed = start + 1, 16, _DIGITS + "abcdefABCDEF"
    else:
        width, base, allowed = 3, 8, _DIGITS[:8]
    digits = text[start : start + width]
    if len(digits) < width or digits.strip(allowed):
        raise InputError(_SYNTAX)
    code, is_byte = int(digits, base), letter not in {"u", "U"}
    is_rune = code < 0xD800 or 0xE000 <= code < 0x110000
    if code > 0xFF if is_byte else not is_rune:
        raise InputError(_SYNTAX)
    return code, is_byte, start + width
