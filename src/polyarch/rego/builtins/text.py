"""Texts."""

from __future__ import annotations

from collections.abc import Callable

from polyarch.golang.template.printf import sprintf
from polyarch.rego.builtins.given import (
    Table,
    a_number,
    a_text,
    an_array,
    an_integer,
    an_object,
    texts,
    written,
)
from polyarch.rego.undefined import Unfit

__all__ = ["TEXT"]

_BASES = {2: "b", 8: "o", 10: "d", 16: "x"}


def _sprintf(form: object, arguments: object) -> object:
    return sprintf(a_text(form), [_argument(each) for each in an_array(arguments)])


def _argument(value: object) -> str | int | float:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return written(value)


def _of_text(do: Callable[[str], object]) -> Callable[[object], object]:
    return lambda text: do(a_text(text))


def _of_two(do: Callable[[str, str], object]) -> Callable[[object, object], object]:
    return lambda text, other: do(a_text(text), a_text(other))


def _any(do: Callable[[str, str], bool]) -> Callable[[object, object], object]:
    def result(text: object, other: object) -> object:
        found = [text] if isinstance(text, str) else texts(text)
        ends = [other] if isinstance(other, str) else texts(other)
        return any(do(each, end) for each in found for end in ends)

    return result


def _concat(between: object, parts: object) -> object:
    return a_text(between).join(texts(parts))


def _format_int(value: object, base: object) -> object:
    if base not in _BASES or isinstance(base, bool):
        raise Unfit
    return format(int(a_number(value)), _BASES[base])


def _all_indices(text: str, part: str) -> object:
    if not part:
        raise Unfit
    return tuple(number for number in range(len(text)) if text.startswith(part, number))


def _index(text: str, part: str) -> object:
    if not part:
        raise Unfit
    return text.find(part)


def _substring(text: object, start: object, length: object) -> object:
    whole, begin, count = a_text(text), an_integer(start), an_integer(length)
    if begin < 0:
        raise Unfit
    return whole[begin:] if count < 0 else whole[begin : begin + count]


def _split(text: str, between: str) -> object:
    return tuple(text.split(between) if between else text)


def _replace(text: object, old: object, new: object) -> object:
    whole, part, other = a_text(text), a_text(old), a_text(new)
    # One letter may become a million: what comes of it is known before it is made.
    if len(other) * (whole.count(part)) > 1 << 24:
        raise Unfit
    return whole.replace(part, other)


def _replace_all(patterns: object, text: object) -> object:
    pairs = [(a_text(old), a_text(new)) for old, new in an_object(patterns).items()]
    whole, position, out = a_text(text), 0, []
    while position < len(whole):
        for old, new in pairs:
            if old and whole.startswith(old, position):
                out.append(new)
                position += len(old)
                break
        else:
            out.append(whole[position])
            position += 1
    return "".join(out)


TEXT: Table = {
    "sprintf": (2, _sprintf),
    "concat": (2, _concat),
    "format_int": (2, _format_int),
    "contains": (2, _of_two(lambda text, part: part in text)),
    "startswith": (2, _of_two(str.startswith)),
    "endswith": (2, _of_two(str.endswith)),
    "indexof": (2, _of_two(_index)),
    "indexof_n": (2, _of_two(_all_indices)),
    "lower": (1, _of_text(str.lower)),
    "upper": (1, _of_text(str.upper)),
    "substring": (3, _substring),
    "split": (2, _of_two(_split)),
    "replace": (3, _replace),
    "strings.replace_n": (2, _replace_all),
    "strings.any_prefix_match": (2, _any(str.startswith)),
    "strings.any_suffix_match": (2, _any(str.endswith)),
    "strings.count": (2, _of_two(lambda text, part: text.count(part))),
    "strings.reverse": (1, _of_text(lambda text: text[::-1])),
    "trim": (2, _of_two(lambda text, chars: text.strip(chars) if chars else text)),
    "trim_left": (2, _of_two(lambda text, chars: text.lstrip(chars) if chars else text)),
    "trim_right": (2, _of_two(lambda text, chars: text.rstrip(chars) if chars else text)),
    "trim_prefix": (2, _of_two(str.removeprefix)),
    "trim_suffix": (2, _of_two(str.removesuffix)),
    "trim_space": (1, _of_text(str.strip)),
}
