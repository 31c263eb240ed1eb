"""HCL as JSON: a document -> the same trees as those of HCL's native syntax.

Texts are templates. Which objects are blocks is a matter of the reader's: `blocks` names them, and how many
labels they have. Source: HCL's JSON syntax specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from polyarch.bakefile.hcl.body import Attribute, Block, Body, parse_expression
from polyarch.bakefile.hcl.expressions import Parser
from polyarch.bakefile.hcl.nodes import Expression, Item, Literal, ObjectKey, Objects, Tuples
from polyarch.bakefile.hcl.numbers import parse
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.templates import whole_template
from polyarch.bakefile.hcl.values import FALSE, NULL, TRUE, number
from polyarch.graph.location import SourceText
from polyarch.pattern import pattern

__all__ = ["BlockSchema", "parse_json"]

_SPACE = pattern(r"[ \t\r\n]*")
_NUMBER = pattern(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_STRING = pattern(r'"((?:[^"\\\x00-\x1f]|\\.)*)"')
_WORD = pattern(r"[A-Za-z_]\w*")
_ESCAPE = pattern(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_WORDS = {"true": TRUE, "false": FALSE, "null": NULL}
_DEEPEST = 200


class BlockSchema(NamedTuple):
    """How many labels a block has, which blocks are in it, and which attributes are names rather than texts."""

    labels: int = 0
    blocks: Mapping[str, BlockSchema] = {}
    static: frozenset[str] = frozenset()


class _Text(NamedTuple):
    text: str
    at: Range


class _Array(NamedTuple):
    items: list[_Node]
    at: Range


class _Member(NamedTuple):
    name: str
    name_at: Range
    value: _Node


class _Object(NamedTuple):
    members: list[_Member]
    at: Range


_Node = _Text | _Array | _Object | Literal


def parse_json(source: SourceText, blocks: Mapping[str, BlockSchema]) -> Body:
    """Read a document. Raises HclError."""
    node = _Reader(source).document()
    return _body([node], BlockSchema(blocks=blocks))


class _Reader:
    def __init__(self, source: SourceText) -> None:
        self._source = source
        self._text = source.text
        self._position = 0
        self._depth = 0

    def document(self) -> _Node:
        node = self._value()
        self._blank()
        if self._position < len(self._text):
            raise self._error(
                "Extraneous data after value", "Extra characters appear after the JSON value."
            )
        if not isinstance(node, _Object | _Array):
            raise HclError(
                "Root value must be object",
                "The root value in a JSON-based configuration must be either a JSON object or a JSON array of objects.",
                node.at,
            )
        return node

    def _range(self, start: int) -> Range:
        return Range(self._source, start, self._position)

    def _blank(self) -> None:
        match = _SPACE.match(self._text, self._position)
        assert match is not None
        self._position = match.end()

    def _error(self, summary: str, detail: str) -> HclError:
        at = Range(self._source, self._position, self._position + 1)
        return HclError(summary, detail, at)

    def _value(self) -> _Node:
        self._blank()
        start = self._position
        char = self._text[start : start + 1]
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("Invalid JSON", "It is nested too deep.")
        try:
            if char == "{":
                return self._object(start)
            if char == "[":
                return self._array(start)
        finally:
            self._depth -= 1
        if char == '"':
            return _Text(self._string(), self._range(start))
        if match := _NUMBER.match(self._text, start):
            self._position = match.end()
            try:
                value = number(parse(match.group()))
            except ValueError:
                detail = "This number is too large or too small."
                raise HclError("Invalid JSON number", detail, self._range(start)) from None
            return Literal(value, self._range(start))
        return self._keyword(start)

    def _keyword(self, start: int) -> _Node:
        match = _WORD.match(self._text, start)
        if match is None:
            if start >= len(self._text):
                raise self._error("Missing value", "The JSON data ends prematurely.")
            raise self._error(
                "Invalid start of value",
                "A JSON value must start with a brace, a bracket, a number, a string, or a keyword.",
            )
        if match.group() not in _WORDS:
            raise self._error(
                "Invalid JSON keyword",
                f'"{match.group()}" is not a valid JSON keyword. Only "true", "false" and "null" are.',
            )
        self._position = match.end()
        return Literal(_WORDS[match.group()], self._range(start))

    def _string(self) -> str:
        match = _STRING.match(self._text, self._position)
        if match is None:
            raise self._error(
                "Invalid JSON string", "A string must be closed on its line, by a quote."
            )
        escaped = match[1]
        self._position = match.end()
        if "\\" not in escaped:
            return escaped

        def decoded(found: re.Match[str]) -> str:
            if found[1]:
                return chr(int(found[1], 16))
            if found[2] not in _ESCAPES:
                raise self._error(
                    "Invalid JSON string", f"There is no escape sequence \\{found[2]}."
                )
            return _ESCAPES[found[2]]

        # Halves of surrogate pairs come one by one.
        text = _ESCAPE.sub(decoded, escaped)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _object(self, start: int) -> _Node:
        self._position += 1
        members: list[_Member] = []
        self._blank()
        if self._text.startswith("}", self._position):
            self._position += 1
            return _Object(members, self._range(start))
        while True:
            self._blank()
            key_start = self._position
            if not self._text.startswith('"', key_start):
                raise self._error(
                    "Invalid object property name",
                    "A JSON object property name must be a string, introduced by a double quote.",
                )
            name = self._string()
            name_at = self._range(key_start)
            self._blank()
            if not self._text.startswith(":", self._position):
                raise self._error(
                    "Missing property value colon",
                    "A colon must appear between an object property's name and its value.",
                )
            self._position += 1
            members.append(_Member(name, name_at, self._value()))
            if self._ends("}", "object", "property"):
                return _Object(members, self._range(start))

    def _array(self, start: int) -> _Node:
        self._position += 1
        items: list[_Node] = []
        self._blank()
        if self._text.startswith("]", self._position):
            self._position += 1
            return _Array(items, self._range(start))
        while True:
            items.append(self._value())
            if self._ends("]", "array", "value"):
                return _Array(items, self._range(start))

    def _ends(self, closing: str, what: str, part: str) -> bool:
        """Step over what is between two members; tell whether it is the end."""
        self._blank()
        if self._text.startswith(closing, self._position):
            self._position += 1
            return True
        if not self._text.startswith(",", self._position):
            if self._position >= len(self._text):
                raise self._error(
                    f"Unclosed {what}", f"No closing {closing} was found for this {what}."
                )
            raise self._error(
                f"Missing {what} separator",
                f"A comma must separate each {part} of the {what} from the next.",
            )
        comma = self._position
        self._position += 1
        self._blank()
        if self._text.startswith(closing, self._position):
            self._position = comma
            raise self._error(
                f"Trailing comma in {what}",
                f"JSON does not permit a trailing comma after the final {part} in an {what}.",
            )
        return False


# --- documents as bodies ---


def _members(node: _Node) -> Iterator[_Member]:
    """Yield the members of an object, or of the objects of an array."""
    if isinstance(node, _Object):
        yield from node.members
    elif isinstance(node, _Array):
        for each in node.items:
            yield from _members(each)
    elif not _is_null(node):
        detail = "A JSON object is required here, to set arguments and blocks."
        raise HclError("Incorrect JSON value type", detail, node.at)


def _is_null(node: _Node) -> bool:
    return isinstance(node, Literal) and node.value.is_null


def _body(nodes: list[_Node], schema: BlockSchema) -> Body:
    attributes: dict[str, Attribute] = {}
    blocks: list[Block] = []
    for node in nodes:
        for member in _members(node):
            if member.name == "//":
                continue
            if member.name in schema.blocks:
                inner = schema.blocks[member.name]
                blocks += _blocks(member.name, member.name_at, inner, member.value, ())
                continue
            if member.name in attributes:
                raise HclError(
                    "Duplicate argument",
                    f'The argument "{member.name}" was already set at {attributes[member.name].name_at}.',
                    member.name_at,
                )
            static = member.name in schema.static
            expression = _static(member.value) if static else _expression(member.value)
            whole = member.name_at.to(member.value.at)
            attributes[member.name] = Attribute(member.name, expression, member.name_at, whole)
    end = nodes[-1].at
    return Body(attributes, tuple(blocks), Range(end.source, end.end, end.end))


_Label = tuple[str, Range]


def _blocks(
    kind: str, kind_at: Range, schema: BlockSchema, node: _Node, labels: tuple[_Label, ...]
) -> Iterator[Block]:
    if len(labels) < schema.labels:
        for member in _members(node):
            label = (member.name, member.name_at)
            yield from _blocks(kind, kind_at, schema, member.value, (*labels, label))
        return
    for each in node.items if isinstance(node, _Array) else [node]:
        if _is_null(each):
            continue
        names = tuple(name for name, _at in labels)
        ats = tuple(at for _name, at in labels)
        yield Block(
            kind, names, _body([each], schema), ats, kind_at.to(ats[-1] if ats else kind_at)
        )


def _expression(node: _Node) -> Expression:
    match node:
        case _Text():
            return _template(node)
        case _Array():
            return Tuples(tuple(map(_expression, node.items)), node.at)
        case _Object():
            return Objects(tuple(_items(node)), node.at)
        case Literal():
            return node


def _items(node: _Object) -> Iterator[Item]:
    seen: dict[str, Range] = {}
    for member in node.members:
        if member.name in seen:
            raise HclError(
                "Duplicate object attribute",
                f'An attribute named "{member.name}" was already defined at {seen[member.name]}.',
                member.name_at,
            )
        seen[member.name] = member.name_at
        key = _template(_Text(member.name, member.name_at))
        yield Item(ObjectKey(key, member.name_at), _expression(member.value))


def _template(node: _Text) -> Expression:
    parser = Parser(node.at.source, node.text, node.at.start + 1)
    return whole_template(parser)


def _static(node: _Node) -> Expression:
    """Return what a text says, as of a type or of a parameter's name."""
    if isinstance(node, _Array):
        return Tuples(tuple(map(_static, node.items)), node.at)
    if isinstance(node, _Text):
        try:
            return parse_expression(node.at.source, node.text, node.at.start + 1)
        except HclError:
            return _template(node)
    return _expression(node)
