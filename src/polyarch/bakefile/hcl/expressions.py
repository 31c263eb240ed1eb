"""Expressions of HCL: tokens -> a tree.

Source: HCL's native syntax specification, "Expressions"; messages are those of HCL.
"""

from __future__ import annotations

from polyarch.bakefile.hcl.nodes import (
    Attr,
    Binary,
    Call,
    Conditional,
    Expression,
    For,
    Index,
    IndexStep,
    Item,
    Literal,
    ObjectKey,
    Objects,
    Parens,
    Relative,
    Splat,
    SplatItem,
    Step,
    Template,
    Traversal,
    Tuples,
    Unary,
)
from polyarch.bakefile.hcl.numbers import Num, parse
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.scanner import Scanner, Token, TokenKind
from polyarch.bakefile.hcl.templates import heredoc, quoted
from polyarch.bakefile.hcl.values import FALSE, NULL, TRUE, integer, number

__all__ = ["Parser"]

_LEVELS = (("||",), ("&&",), ("==", "!="), (">", ">=", "<", "<="), ("+", "-"), ("*", "/", "%"))
_WORDS = {"true": TRUE, "false": FALSE, "null": NULL}


class Parser(Scanner):
    """Reads expressions from its text."""

    def expression(self) -> Expression:
        """Read an expression. Raises HclError."""
        with self.deeper():
            condition = self._binary(0)
            if not self.take("?"):
                return condition
            yes = self.expression()
            self._expect(
                ":", "Missing false expression in conditional",
                "The conditional operator (...?...:...) requires a false expression, delimited by a colon.",
            )  # fmt: skip
            no = self.expression()
            return Conditional(condition, yes, no, condition.at.to(no.at))

    def _expect(self, operator: str, summary: str, detail: str) -> Token:
        token = self.peek()
        if not token.is_operator(operator):
            raise HclError(summary, detail, self.at(token))
        return self.read()

    def _binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self.operand()
        left = self._binary(level + 1)
        while token := self.take(*_LEVELS[level]):
            right = self._binary(level + 1)
            left = Binary(token.text, left, right, left.at.to(right.at))
        return left

    def operand(self) -> Expression:
        """Read a term with what follows it: `.a`, `[0]`, `[*]`."""
        found = self._term()
        while True:
            token = self.peek()
            if token.is_operator("."):
                found = self._dotted(found, self.read())
            elif token.is_operator("["):
                found = self._bracketed(found, self.read())
            else:
                return found

    # --- terms ---

    def _term(self) -> Expression:
        token = self.read()
        where = self.at(token)
        if token.kind in {TokenKind.QUOTE, TokenKind.HEREDOC}:
            return (quoted if token.kind is TokenKind.QUOTE else heredoc)(self, token)
        if token.kind is TokenKind.NUMBER:
            return Literal(number(self._number(token)), where)
        if token.kind is TokenKind.IDENT:
            return self._word(token)
        if token.is_operator("(", "[", "{"):
            brackets = {"(": self._parens, "[": self._tuple, "{": self._object}
            return brackets[token.text](token)
        if token.is_operator("-", "!"):
            with self.deeper():
                operand = self.operand()
            return Unary(token.text, operand, where.to(operand.at))
        raise self._no_start(token)

    def _number(self, token: Token) -> Num:
        try:
            return parse(token.text)
        except ValueError:
            raise HclError(
                "Invalid number literal",
                "Failed to recognize the value of this number literal.",
                self.at(token),
            ) from None

    def _no_start(self, token: Token) -> HclError:
        if token.kind is TokenKind.END:
            return HclError(
                "Missing expression",
                "Expected the start of an expression, but found the end of the file.",
                self.at(token),
            )
        return HclError(
            "Invalid expression",
            "Expected the start of an expression, but found an invalid expression token.",
            self.at(token),
        )

    def _word(self, token: Token) -> Expression:
        name, where = token.text, self.at(token)
        while self.peek().is_operator("::"):
            self.read()
            part = self.read()
            name, where = f"{name}::{part.text}", where.to(self.at(part))
        if self.peek().is_operator("("):
            return self._call(name, where)
        if name in _WORDS:
            return Literal(_WORDS[name], where)
        return Traversal(name, (), where, where)

    def _call(self, name: str, where: Range) -> Expression:
        self.read()
        arguments: list[Expression] = []
        expands = False
        with self.newlines(count=False):
            while not (close := self.take(")")):
                arguments.append(self.expression())
                if self.take("..."):
                    expands = True
                    if not (close := self.take(")")):
                        raise HclError(
                            "Missing closing parenthesis",
                            "An expanded function argument (with ...) must be immediately followed by closing parentheses.",
                            self.at(self.peek()),
                        )
                    break
                if not self.take(",") and not self.peek().is_operator(")"):
                    raise self._unfinished_call()
        close_at = self.at(close)
        return Call(name, tuple(arguments), expands, where, close_at, where.to(close_at))

    def _unfinished_call(self) -> HclError:
        token = self.peek()
        if token.kind is TokenKind.END:
            return HclError(
                "Unterminated function call",
                "There is no closing parenthesis for this function call before the end of the file. This may be caused by incorrect parenthesis nesting elsewhere in this file.",
                self.at(token),
            )
        return HclError(
            "Missing argument separator",
            "A comma is required to separate each function argument from the next.",
            self.at(token),
        )

    def _parens(self, opening: Token) -> Expression:
        with self.newlines(count=False):
            inner = self.expression()
            close = self._expect(
                ")", "Unbalanced parentheses",
                "Expected a closing parenthesis to terminate the expression.",
            )  # fmt: skip
        return Parens(inner, self.at(opening).to(self.at(close)))

    def _tuple(self, opening: Token) -> Expression:
        with self.newlines(count=False):
            if self.peek().is_word("for"):
                return self._for(opening, "]")
            items: list[Expression] = []
            while not (close := self.take("]")):
                items.append(self.expression())
                if not self.take(",") and not self.peek().is_operator("]"):
                    token = self.peek()
                    if token.kind is TokenKind.END:
                        raise HclError(
                            "Unterminated tuple constructor expression",
                            "There is no corresponding closing bracket before the end of the file. This may be caused by incorrect bracket nesting elsewhere in this file.",
                            self.at(opening),
                        )
                    raise HclError(
                        "Missing item separator",
                        "Expected a comma to mark the beginning of the next item.",
                        self.at(token),
                    )
        return Tuples(tuple(items), self.at(opening).to(self.at(close)))

    def _object(self, opening: Token) -> Expression:
        with self.newlines(count=False):
            if self.peek().is_word("for") and not self._is_key():
                return self._for(opening, "}")
        items: list[Item] = []
        with self.newlines(count=True):
            while True:
                self._skip_lines()
                if close := self.take("}"):
                    break
                items.append(self._item(opening))
                self._end_item(opening)
        return Objects(tuple(items), self.at(opening).to(self.at(close)))

    def _is_key(self) -> bool:
        """Tell whether the word `for` that comes is a key."""
        position = self.position
        self.read()
        is_key = self.peek().is_operator("=", ":")
        self.position = position
        return is_key

    def _skip_lines(self) -> None:
        while self.peek().kind is TokenKind.NEWLINE:
            self.read()

    def _item(self, opening: Token) -> Item:
        token = self.peek()
        if token.kind is TokenKind.END:
            raise self._open_object(opening)
        if token.kind is TokenKind.NUMBER and self._is_legacy_number(token):
            key: Expression = Literal(number(self._number(self.read())), self.at(token))
        else:
            key = self.expression()
        if not self.take("=", ":"):
            token = self.peek()
            if token.kind is TokenKind.END:
                raise self._open_object(opening)
            raise HclError(
                "Missing attribute value",
                'Expected an attribute value, introduced by an equals sign ("=").',
                self.at(token),
            )
        return Item(ObjectKey(key, key.at), self.expression())

    def _is_legacy_number(self, token: Token) -> bool:
        return self.text[token.end : token.end + 1] in {"=", ":", " "}

    def _end_item(self, opening: Token) -> None:
        token = self.peek()
        if token.kind is TokenKind.NEWLINE or self.take(","):
            return
        if token.is_operator("}"):
            return
        if token.kind is TokenKind.END:
            raise self._open_object(opening)
        raise HclError(
            "Missing attribute separator",
            "Expected a newline or comma to mark the beginning of the next attribute.",
            self.at(token),
        )

    def _open_object(self, opening: Token) -> HclError:
        return HclError(
            "Unterminated object constructor expression",
            "There is no corresponding closing brace before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file.",
            self.at(opening),
        )

    # --- for ---

    def _for(self, opening: Token, closing: str) -> Expression:
        self.read()
        key_name, value_name = self.loop_names()
        collection = self.expression()
        self._expect(
            ":", "Invalid 'for' expression",
            "For expression requires a colon after the collection expression.",
        )  # fmt: skip
        value = self.expression()
        key = None
        arrow = self.take("=>")
        if arrow:
            key, value = value, self.expression()
        if (arrow is not None) != (closing == "}"):
            detail = (
                "Key expression is required when building an object."
                if arrow is None
                else "Key expression is not valid when building a tuple."
            )
            where = self.at(arrow or self.peek())
            raise HclError("Invalid 'for' expression", detail, where)
        ellipsis = self.take("...")
        if ellipsis and closing == "]":
            raise HclError(
                "Invalid 'for' expression",
                "Grouping ellipsis (...) cannot be used when building a tuple.",
                self.at(ellipsis),
            )
        condition = None
        if self.peek().is_word("if"):
            self.read()
            condition = self.expression()
        close = self._expect(
            closing, "Invalid 'for' expression",
            "Extra characters after the end of the 'for' expression.",
        )  # fmt: skip
        where = self.at(opening).to(self.at(close))
        return For(key_name, value_name, collection, key, value, condition, bool(ellipsis), where)

    def loop_names(self) -> tuple[str, str]:
        """Read `v in` or `k, v in`; "" is no name of the key. Raises HclError."""
        first = self._name("For expression requires variable name after 'for'.")
        if self.take(","):
            second = self._name("For expression requires value variable name after comma.")
            names = (first, second)
        else:
            names = ("", first)
        token = self.peek()
        if not token.is_word("in"):
            raise HclError(
                "Invalid 'for' expression",
                "For expression requires the 'in' keyword after its name declarations.",
                self.at(token),
            )
        self.read()
        return names

    def _name(self, complaint: str) -> str:
        token = self.peek()
        if token.kind is not TokenKind.IDENT:
            raise HclError("Invalid 'for' expression", complaint, self.at(token))
        return self.read().text

    # --- what follows a term ---

    def _dotted(self, source: Expression, dot: Token) -> Expression:
        token = self.read()
        where = self.at(dot).to(self.at(token))
        if token.kind is TokenKind.IDENT:
            return _with_step(source, Attr(token.text, where))
        if token.kind is TokenKind.NUMBER:
            return _with_step(source, IndexStep(integer(self._legacy_index(token)), where))
        if token.is_operator("*"):
            each: Expression = SplatItem(where)
            while self.peek().is_operator("."):
                self.read()
                step = self.read()
                if step.kind is TokenKind.IDENT:
                    each = _with_step(each, Attr(step.text, self.at(step)))
                elif step.kind is TokenKind.NUMBER:
                    index = integer(self._legacy_index(step))
                    each = _with_step(each, IndexStep(index, self.at(step)))
                elif step.is_operator("*"):
                    raise HclError(
                        "Nested splat expression not allowed",
                        "A splat expression (*) cannot be used inside another attribute-only splat expression.",
                        self.at(step),
                    )
                else:
                    raise self._no_attribute(step)
            return Splat(source, each, where, source.at.to(each.at))
        raise self._no_attribute(token)

    def _no_attribute(self, token: Token) -> HclError:
        return HclError(
            "Invalid attribute name",
            "An attribute name is required after a dot.",
            self.at(token),
        )

    def _legacy_index(self, token: Token) -> int:
        if not token.text.isdigit():
            raise HclError(
                "Invalid legacy index syntax",
                "When using the legacy index syntax, chaining two indexes together is not permitted. Use the proper index syntax with square brackets instead.",
                self.at(token),
            )
        return int(token.text)

    def _bracketed(self, source: Expression, opening: Token) -> Expression:
        with self.newlines(count=False):
            if self.peek().is_operator("*"):
                return self._full_splat(source, opening)
            key = self.expression()
            close = self._expect(
                "]", "Missing close bracket on index",
                'The index operator must end with a closing bracket ("]").',
            )  # fmt: skip
        where = self.at(opening).to(self.at(close))
        step = _literal_step(key, where)
        if step is not None:
            return _with_step(source, step)
        return Index(source, key, where, source.at.to(where))

    def _full_splat(self, source: Expression, opening: Token) -> Expression:
        self.read()
        close = self._expect(
            "]", "Missing close bracket on splat index",
            'The star for a full splat operator must be immediately followed by a closing bracket ("]").',
        )  # fmt: skip
        marker = self.at(opening).to(self.at(close))
        each: Expression = SplatItem(marker)
        # What follows belongs to each element; line ends are those of outside again.
        inner = self._newlines.pop()
        try:
            while True:
                token = self.peek()
                if token.is_operator("."):
                    each = self._dotted(each, self.read())
                elif token.is_operator("["):
                    each = self._bracketed(each, self.read())
                else:
                    break
        finally:
            self._newlines.append(inner)
        return Splat(source, each, marker, source.at.to(each.at))


def _literal_step(key: Expression, where: Range) -> IndexStep | None:
    """Return the step for a key that needs no working out."""
    if isinstance(key, Template) and len(key.parts) == 1:
        key = key.parts[0]
    if isinstance(key, Literal) and not key.value.is_null and not isinstance(key.value.raw, bool):
        return IndexStep(key.value, where)
    return None


def _with_step(source: Expression, step: Step) -> Expression:
    if isinstance(source, Traversal):
        return source._replace(steps=(*source.steps, step), at=source.at.to(step.at))
    if isinstance(source, Relative):
        return source._replace(steps=(*source.steps, step), at=source.at.to(step.at))
    return Relative(source, (step,), source.at.to(step.at))
