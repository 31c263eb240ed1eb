"""Bodies of HCL: attributes and blocks. A file is a body, and so is what is within a block's braces.

Source: HCL's native syntax specification, "Structural Language"; messages are those of HCL.
"""

from __future__ import annotations

from typing import NamedTuple

from polyarch.bakefile.hcl.expressions import Parser
from polyarch.bakefile.hcl.nodes import Expression
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.scanner import Token, TokenKind
from polyarch.bakefile.hcl.templates import label
from polyarch.graph.location import SourceText

__all__ = ["Attribute", "Block", "Body", "parse_expression", "parse_hcl"]


class Attribute(NamedTuple):
    """`name = expression`."""

    name: str
    expression: Expression
    name_at: Range
    at: Range


class Block(NamedTuple):
    """`type "label" { … }`; `head` is the range before the brace. Bodies of JSON are read for a schema."""

    type: str
    labels: tuple[str, ...]
    body: Body
    label_ats: tuple[Range, ...]
    head: Range


class Body(NamedTuple):
    """Attributes by name, blocks in their order. `end` is where something missing would stand."""

    attributes: dict[str, Attribute]
    blocks: tuple[Block, ...]
    end: Range


def parse_hcl(source: SourceText) -> Body:
    """Read a file. Raises HclError."""
    parser = _BodyParser(source)
    if source.text.startswith("\ufeff"):
        parser.position = 1
    return parser.body(None)


def parse_expression(source: SourceText, text: str, base: int) -> Expression:
    """Read a text that is one expression and begins at character `base` of a file. Raises HclError."""
    parser = Parser(source, text, base)
    found = parser.expression()
    token = parser.peek()
    if token.kind is not TokenKind.END:
        raise HclError(
            "Extra characters after expression",
            "An expression was successfully parsed, but extra characters were found after it.",
            parser.at(token),
        )
    return found


_WANTED = "An argument or block definition is required here."
_EQUALS = 'To set an argument, use the equals sign "=" to introduce the argument value.'
_OPEN = "There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file."


class _BodyParser(Parser):
    def body(self, opening: Token | None) -> Body:
        """Read attributes and blocks up to the closing brace, or to the file's end if there is no opening one."""
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        with self.newlines(count=True):
            while True:
                token = self.read()
                if token.kind is TokenKind.NEWLINE:
                    continue
                if token.is_operator("}") and opening is not None:
                    break
                if token.kind is TokenKind.END and opening is None:
                    break
                if token.kind is not TokenKind.IDENT:
                    raise self._no_item(token, opening)
                item = self._item_of_body(token)
                if isinstance(item, Block):
                    blocks.append(item)
                    continue
                if item.name in attributes:
                    raise HclError(
                        "Attribute redefined",
                        f'The argument "{item.name}" was already set at {attributes[item.name].name_at}. Each argument may be set only once.',
                        item.name_at,
                    )
                attributes[item.name] = item
        return Body(attributes, tuple(blocks), self.range(token.end, token.end))

    def _no_item(self, token: Token, opening: Token | None) -> HclError:
        if token.kind is TokenKind.QUOTE:
            return HclError(
                "Invalid argument name", "Argument names must not be quoted.", self.at(token)
            )
        if token.kind is TokenKind.END and opening is not None:
            return HclError("Unclosed configuration block", _OPEN, self.at(opening))
        return HclError("Argument or block definition required", _WANTED, self.at(token))

    def _item_of_body(self, name: Token) -> Attribute | Block:
        following = self.peek()
        if following.is_operator("="):
            attribute = self._attribute(name)
            self._end_of_line(following, "Missing newline after argument", "An argument definition")
            return attribute
        if following.kind in {TokenKind.QUOTE, TokenKind.IDENT} or following.is_operator("{"):
            return self._block(name)
        raise HclError(
            "Argument or block definition required", f"{_WANTED} {_EQUALS}", self.at(name)
        )

    def _attribute(self, name: Token) -> Attribute:
        self.read()
        expression = self.expression()
        name_at = self.at(name)
        return Attribute(name.text, expression, name_at, name_at.to(expression.at))

    def _end_of_line(self, _start: Token, summary: str, what: str) -> None:
        token = self.peek()
        if token.kind is TokenKind.NEWLINE:
            self.read()
            return
        if token.kind is TokenKind.END:
            return
        detail = f"{what} must end with a newline."
        if token.is_operator(","):
            summary = "Unexpected comma after argument"
            detail = f"Argument definitions must be separated by newlines, not commas. {detail}"
        raise HclError(summary, detail, self.at(token))

    def _block(self, name: Token) -> Block:
        labels: list[str] = []
        label_ats: list[Range] = []
        while not (opening := self.take("{")):
            token = self.read()
            if token.kind is TokenKind.QUOTE:
                labels.append(label(self, token))
                label_ats.append(self.range(token.start, self.position))
            elif token.kind is TokenKind.IDENT:
                labels.append(token.text)
                label_ats.append(self.at(token))
            else:
                raise self._no_block(token)
        head = self.at(name).to(label_ats[-1] if label_ats else self.at(name))
        following = self.peek()
        if following.kind in {TokenKind.NEWLINE, TokenKind.END} or following.is_operator("}"):
            body = self.body(opening)
        else:
            body = self._single_line(opening)
        self._end_of_line(name, "Missing newline after block definition", "A block definition")
        return Block(name.text, tuple(labels), body, tuple(label_ats), head)

    def _no_block(self, token: Token) -> HclError:
        if token.is_operator("="):
            detail = 'The equals sign "=" indicates an argument definition, and must not be used when defining a block.'
        elif token.kind is TokenKind.NEWLINE:
            detail = 'A block definition must have block content delimited by "{" and "}", starting on the same line as the block header.'
        else:
            detail = (
                'Either a quoted string block label or an opening brace ("{") is expected here.'
            )
        return HclError("Invalid block definition", detail, self.at(token))

    def _single_line(self, opening: Token) -> Body:
        """Read `{ name = value }`."""
        name = self.read()
        if name.kind is not TokenKind.IDENT:
            raise HclError("Argument or block definition required", _WANTED, self.at(name))
        if not self.peek().is_operator("="):
            raise HclError(
                "Argument or block definition required", f"{_WANTED} {_EQUALS}", self.at(name)
            )
        attribute = self._attribute(name)
        close = self.peek()
        if not close.is_operator("}"):
            raise self._bad_single(close, opening)
        self.read()
        end = self.range(close.end, close.end)
        return Body({attribute.name: attribute}, (), end)

    def _bad_single(self, token: Token, opening: Token) -> HclError:
        if token.kind is TokenKind.END:
            return HclError("Unclosed configuration block", _OPEN, self.at(opening))
        if token.is_operator(","):
            detail = "Single-line block syntax can include only one argument definition. To define multiple arguments, use the multi-line block syntax with one argument definition per line."
        elif token.kind is TokenKind.NEWLINE:
            detail = "An argument definition on the same line as its containing block creates a single-line block definition, which must also be closed on the same line. Place the block's closing brace immediately after the argument definition."
        else:
            detail = "A single-line block definition must end with a closing brace immediately after its single argument definition."
        return HclError("Invalid single-argument block definition", detail, self.at(token))
