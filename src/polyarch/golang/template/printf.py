"""`printf` within templates: Go's verbs and flags, as far as JSON's types reach.

Mistakes aren't errors but visible, as in Go: `%!d(string=a)`, `%!s(MISSING)`, `%!(EXTRA int=1)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from polyarch.golang.strconv import quote, quote_rune
from polyarch.golang.template.values import Value, go_text, is_list, type_name
from polyarch.pattern import pattern

__all__ = ["sprintf"]

_VERB = pattern(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>.?)", re.DOTALL
)


def sprintf(form: str, arguments: Sequence[Value]) -> str:
    """Write `arguments` into `form`."""
    out, position, used = "", 0, 0
    for match in _VERB.finditer(form):
        out += form[position : match.start()]
        position = match.end()
        verb = match["verb"]
        if verb == "%":
            out += "%"
        elif verb == "":
            out += "%!(NOVERB)"
        elif used >= len(arguments):
            out += f"%!{verb}(MISSING)"
        else:
            out += _padded(_formatted(match, arguments[used]), match)
            used += 1
    out += form[position:]
    extra = [f"{type_name(value)}={go_text(value)}" for value in arguments[used:]]
    return f"{out}%!(EXTRA {', '.join(extra)})" if extra else out


def _padded(text: str, match: re.Match[str]) -> str:
    width = int(match["width"] or 0)
    flags = match["flags"]
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and match["verb"] in "dxXobeEfgGvt":
        return text.zfill(width)
    return text.rjust(width)


def _formatted(match: re.Match[str], value: Value) -> str:
    verb = match["verb"]
    if is_list(value) and isinstance(value, Sequence) and verb not in "vT":
        return "[" + " ".join(_formatted(match, item) for item in value) + "]"
    if isinstance(value, Mapping) and verb not in "vT":
        items = (
            f"{quote(k) if verb == 'q' else k}:{_formatted(match, value[k])}" for k in sorted(value)
        )
        return "map[" + " ".join(items) + "]"
    text = _by_verb(match, verb, value)
    if text is not None:
        return text
    if value is None:
        return f"%!{verb}(<nil>)"
    return f"%!{verb}({type_name(value)}={go_text(value)})"


def _by_verb(match: re.Match[str], verb: str, value: Value) -> str | None:
    """Write one plain value; None if the verb isn't for it."""
    if verb == "v":
        return quote(value) if "#" in match["flags"] and isinstance(value, str) else go_text(value)
    if verb == "T":
        return type_name(value)
    if isinstance(value, bool):
        return go_text(value) if verb == "t" else None
    if isinstance(value, str):
        return _string(match, verb, value)
    if isinstance(value, int):
        return _integer(match, verb, value)
    return _float(match, verb, value) if isinstance(value, float) else None


def _string(match: re.Match[str], verb: str, value: str) -> str | None:
    precision = match["precision"]
    value = value if precision is None else value[: int(precision or 0)]
    match verb:
        case "s":
            return value
        case "q":
            return quote(value)
        case "x":
            return value.encode(errors="replace").hex()
        case "X":
            return value.encode(errors="replace").hex().upper()
        case _:
            return None


def _integer(match: re.Match[str], verb: str, value: int) -> str | None:
    sign = "+" if "+" in match["flags"] else ""
    match verb:
        case "d" | "x" | "X" | "o" | "b":
            prefix = "#" if "#" in match["flags"] and verb != "d" else ""
            return f"{value:{sign}{prefix}{verb}}"
        case "c":
            return chr(value) if 0 <= value <= 0x10FFFF else "\ufffd"
        case "q":
            return quote_rune(value)
        case "U":
            return f"U+{value:04X}"
        case _:
            return None


def _float(match: re.Match[str], verb: str, value: float) -> str | None:
    sign = "+" if "+" in match["flags"] else ""
    if verb not in "feEgGF":
        return None
    if match["precision"] is None and verb in "gG":
        return sign * (value >= 0) + go_text(value)
    precision = match["precision"]
    digits = 6 if precision is None else int(precision or 0)
    return f"{value:{sign}.{digits}{verb}}"
