"""All functions by their names."""

from __future__ import annotations

from polyarch.rego.builtins.basic import BASIC
from polyarch.rego.builtins.encoding import ENCODING
from polyarch.rego.builtins.given import Table, written
from polyarch.rego.builtins.kinds import KINDS
from polyarch.rego.builtins.objects import OBJECTS
from polyarch.rego.builtins.patterns import PATTERNS
from polyarch.rego.builtins.text import TEXT
from polyarch.rego.undefined import UNDEFINED, Unfit

__all__ = ["MISSING", "arity_of", "call_builtin", "shown"]

_ALL: Table = {**BASIC, **ENCODING, **KINDS, **OBJECTS, **PATTERNS, **TEXT}
MISSING = frozenset(
    [
        "json.patch",
        "regex.globs_match",
        "regex.template_match",
        "strings.render_template",
        "time.parse_ns",
        "uuid.parse",
        "yaml.is_valid",
        "yaml.marshal",
        "yaml.unmarshal",
    ]
)
"""What docker buildx has besides."""


def arity_of(name: str) -> int | None:
    """Return the number of a function's arguments, -1 for any, None for a name that is no function."""
    if name == "print":
        return -1
    found = _ALL.get(name)
    return None if found is None else found[0]


def call_builtin(name: str, arguments: tuple[object, ...]) -> object:
    """Return the result of a function, UNDEFINED for what it can't do with. Raises Wanted."""
    try:
        return _ALL[name][1](*arguments)
    except Unfit:
        return UNDEFINED


def shown(value: object) -> str:
    """Return a value as `print` shows it."""
    return value if isinstance(value, str) else written(value)
