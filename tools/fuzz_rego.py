"""What `tools.fuzz` tries of policies: whatever the text, there is an answer or one of our errors, soon."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.policies.builtins import ARITIES
from polyarch.policies.default import DEFAULT
from polyarch.policies.helpers import HELPERS
from polyarch.rego.context import Budget, Context
from polyarch.rego.documents import find_value
from polyarch.rego.faults import RegoError
from polyarch.rego.modules import parse_module
from polyarch.rego.program import compile_modules
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import from_plain, plain
from tools.fuzz_areas import Area

__all__ = ["REGO"]

_INPUT = {
    "image": {"repo": "a", "tag": "1.2", "labels": {"b": "c"}, "env": ["D=e"]},
    "n": [1, 2.5, None, True],
}
_ALLOWS = (
    b'package docker\nimport rego.v1\ndefault allow := false\nallow if input.image.repo == "a"\n'
    b'deny_msg contains m if { some k, v in input.image.labels; m := sprintf("%s=%v", [k, v]) }\n'
    b'decision := {"allow": allow, "deny_msg": deny_msg, "n": [x | x := input.n[_]; is_number(x)]}\n'
)
_FUNCTIONS = (
    b"package docker\nf(x) := y if { y := x * 2 } else := 0\ndecision[k] := f(k) if some k in {1, 2} | {3}\n"
    b"p if { every e in input.image.env { contains(e, `=`) }; not input.none with input.n as [] }\n"
)
_TEXTS = (_ALLOWS, _FUNCTIONS, HELPERS.encode(), DEFAULT.encode())
_WORDS = tuple(
    word.encode()
    for word in (
        *'{}[]()"|&+-*/%=<>!.,:;_`#\n', ":=", "==", "if ", "else ", "some ", "every ", "in ", "not ", "with ", "as ",
        "default ", "contains ", "import ", "package ", "input", "data", "null", "true", "1e9", "count(", "set()", "x",
    )
)  # fmt: skip


def _check(data: bytes) -> str:
    try:
        module = parse_module("x.rego", data.decode("utf-8", "replace"))
        program = compile_modules([module], ARITIES)
        context = Context(program, host={}, given=from_plain(_INPUT), budget=Budget(20_000))
        value = find_value(context, ("docker",))
    except RegoError as error:
        # Its kind: without a place there is none.
        return str(error).split(": ")[1] if error.place else str(1 // 0)
    if value is UNDEFINED:
        return "undefined"
    plain(value)
    return "answered"


REGO: Mapping[str, Area] = {"rego": Area(lambda: _TEXTS, _WORDS, _check)}
