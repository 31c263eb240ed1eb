"""YAML as Compose reads it: `yes` and `on` are texts, dates too, keys are unique; `!reset` and `!override`.

Names and texts of a document have their places with them (`placed.py`).

Source: the YAML 1.2 core schema, and documentation of Compose files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from polyarch.bakefile.compose.placed import Text
from polyarch.bakefile.hcl.place import Range
from polyarch.errors import BakeFileError
from polyarch.graph.location import SourceText

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

    def __init__(self, source: SourceText) -> None:
        self.source = source
        super().__init__(source.text)

    def range(self, start: yaml.Mark, end: yaml.Mark) -> Range:
        """Return the characters between two marks."""
        return Range(self.source, start.index, end.index)


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


def _text(loader: _Loader, node: yaml.ScalarNode) -> Text:
    return Text.written(
        str(loader.construct_scalar(node)), loader.range(node.start_mark, node.end_mark)
    )


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[dict[object, object]]:
    seen: dict[str, int] = {}
    for key, _value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in seen:
                line = key.start_mark.line + 1
                raise BakeFileError(
                    f'yaml: line {line}: mapping key "{key.value}" already defined at line {seen[key.value]}',
                    place=loader.range(key.start_mark, key.end_mark).location,
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
    return Override(_text(loader, node))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:str", _text)
_Loader.add_constructor("!reset", _reset)
_Loader.add_constructor("!override", _override)


def documents(source: SourceText) -> list[Any]:
    """Return the documents of a file. Raises BakeFileError with the place of what can't be read."""
    name = source.name
    try:
        return [each for each in _loaded(source) if each is not None]
    except BakeFileError as error:
        raise BakeFileError(f"failed to parse {name}: {error}", place=error.place) from None
    except RecursionError:
        raise BakeFileError(f"failed to parse {name}: yaml: it is nested too deep") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        at = Range(source, mark.index, mark.index) if mark is not None else None
        where = f" at line {at.line}" if at is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise BakeFileError(
            f"failed to parse {name}: yaml{where}: {problem}",
            place=at.location if at is not None else None,
        ) from error


def _loaded(source: SourceText) -> Iterator[Any]:
    loader = _Loader(source)
    try:
        while loader.check_node():
            yield loader.construct_document(loader.get_node())
    finally:
        loader.dispose()
