"""Regular expressions of Go: `regex`, `regexall`, `regex_replace`.

Source: documentation of go-cty's functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from polyarch.bakefile.hcl.functions.spec import (
    ArgumentError,
    Function,
    FunctionError,
    Parameter,
    function,
)
from polyarch.bakefile.hcl.types import STRING, Type, list_of, object_of, tuple_of
from polyarch.bakefile.hcl.values import Value, null_of, object_value, string, tuple_value
from polyarch.golang.regexp import compile_regexp, expand

__all__ = ["REGEXES"]


def _checked(source: str) -> tuple[re.Pattern[str], Type]:
    try:
        compiled = compile_regexp(source)
    except ValueError as error:
        raise ArgumentError(0, f"invalid regexp pattern: {error}") from None
    names = compiled.groupindex
    if names and len(names) < compiled.groups:
        raise ArgumentError(
            0, "invalid regexp pattern: cannot mix both named and unnamed capture groups"
        )
    if names:
        return compiled, object_of(dict.fromkeys(names, STRING))
    return compiled, tuple_of([STRING] * compiled.groups) if compiled.groups else STRING


def _result(match: re.Match[str]) -> Value:
    def group(text: str | None) -> Value:
        return null_of(STRING) if text is None else string(text)

    if match.re.groupindex:
        return object_value({name: group(match[name]) for name in match.re.groupindex})
    if match.re.groups:
        return tuple_value([group(each) for each in match.groups()])
    return string(match.group())


def _regex(source: Value, text: Value) -> Value:
    compiled, _kind = _checked(source.raw)
    match = compiled.search(text.raw)
    if match is None:
        raise FunctionError("pattern did not match any part of the given string")
    return _result(match)


def _regex_all(source: Value, text: Value) -> Value:
    compiled, kind = _checked(source.raw)
    found = [_result(match) for match in compiled.finditer(text.raw)]
    return Value(list_of(kind), tuple(found))


def _regex_replace(text: Value, source: Value, template: Value) -> Value:
    try:
        compiled = compile_regexp(source.raw)
    except ValueError as error:
        reason, _in, expression = str(error).rpartition(" in ")
        raise FunctionError(f"error parsing regexp: {reason}: `{expression}`") from None
    return string(compiled.sub(lambda match: expand(match, template.raw), text.raw))


_TWO = (Parameter("pattern", STRING), Parameter("string", STRING))

REGEXES: Mapping[str, Function] = {
    "regex": function(_regex, *_TWO),
    "regex_replace": function(
        _regex_replace,
        Parameter("str", STRING),
        Parameter("pattern", STRING),
        Parameter("replace", STRING),
    ),
    "regexall": function(_regex_all, *_TWO),
}
