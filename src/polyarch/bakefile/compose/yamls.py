"""YAML as Compose reads it: `yes` and `on` are texts, dates too, keys are unique; `!reset` and `!override`.

Source: the YAML 1.2 core schema, and documentation of Compose files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from polyarch.errors import InputError

__all__ = ["Override", "Reset", "documents"]


class Reset:
    """Takes away what an earlier file says."""


class Override:
    """Stands in place of what an earlier file says, instead of being merged with it."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Loader(yaml.SafeLoader):
    """The safe loader with the core schema's plain scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 as its base has it


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))  # fmt: skip
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])  # fmt: skip
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?(?:0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?0[0-7_]+)$"), list("-+0123456789"))  # fmt: skip
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"), list("-+0123456789."))  # fmt: skip
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def _integer(loader: _Loader, node: yaml.ScalarNode) -> object:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    for prefix, base in (("0o", 8), ("0x", 16), ("0", 8)):
        if digits.startswith(prefix) and len(digits) > 1:
            return sign * int(digits.removeprefix(prefix) or "0", base)
    return sign * int(digits)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[dict[object, object]]:
    seen: dict[str, int] = {}
    for key, _value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                line = key.start_mark.line + 1
                raise InputError(
                    f'yaml: line {line}: mapping key "{key.value}" already defined at line {seen[key.value]}'
                )
            seen[key.value] = key.start_mark.line + 1
    found: dict[object, object] = {}
    yield found
    found.update(loader.construct_mapping(node))


def _reset(_loader: _Loader, _node: yaml.Node) -> Reset:
    return Reset()


def _override(loader: _Loader, node: yaml.Node) -> Override:
    if isinstance(node, yaml.MappingNode):
        return Override(loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return Override(loader.construct_sequence(node, deep=True))
    assert isinstance(node, yaml.ScalarNode)
    return Override(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("!reset", _reset)
_Loader.add_constructor("!override", _override)


def documents(name: str, text: str) -> list[Any]:
    """Return the documents of a file. Raises InputError."""
    try:
        return [each for each in yaml.load_all(text, Loader=_Loader) if each is not None]
    except InputError as error:
        raise InputError(f"failed to parse {name}: {error}") from None
    except RecursionError:
        raise InputError(f"failed to parse {name}: yaml: it is nested too deep") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(f"failed to parse {name}: yaml{where}: {problem}") from error
