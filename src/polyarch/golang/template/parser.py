"""Template tokens -> nodes. Errors are Go's, with the line; InputError all."""

from __future__ import annotations

from collections.abc import Collection

from polyarch.errors import InputError
from polyarch.golang.strconv import quote, unquote, unquote_char
from polyarch.golang.template.lexer import Token, error_at, tokens
from polyarch.golang.template.nodes import (
    Action,
    Branch,
    Chain,
    Command,
    Field,
    Function,
    Jump,
    Literal,
    Node,
    Operand,
    Pipe,
    Text,
    Variable,
)
from polyarch.golang.template.values import Value
from polyarch.record import replace

__all__ = ["parse"]

_BRANCHES = frozenset({"if", "range", "with"})
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "nil": None}
_KEYWORDS = _BRANCHES | {"else", "end", "break", "continue", "define", "template", "block"}
_BODY_ENDS = frozenset({"else", "end"})


def parse(source: str, functions: Collection[str]) -> tuple[Node, ...]:
    """Parse a template that may call `functions`. Raises InputError."""
    parser = _Parser(source, functions)
    body, end = parser.body(ends=frozenset())
    if end is not None:
        raise error_at(source, end.start, f"unexpected {{{{{end.text}}}}}")
    return body


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self._source = source
        self._functions = functions
        self._tokens = list(tokens(source))
        self._next = 0
        self._variables = ["$"]
        self._loops = 0

    def _peek(self) -> Token:
        if self._next < len(self._tokens):
            return self._tokens[self._next]
        end = len(self._source)
        return Token(kind="end", text="", start=end, end=end)

    def _take(self) -> Token:
        token = self._peek()
        self._next += 1
        return token

    def _error(self, token: Token, reason: str) -> InputError:
        return error_at(self._source, token.start, reason)

    # Texts and actions.

    def body(self, *, ends: frozenset[str]) -> tuple[tuple[Node, ...], Token | None]:
        """Parse up to `{{else` or `{{end`, which is returned; None at the end of the text."""
        nodes: list[Node] = []
        while (token := self._take()).kind != "end":
            if token.kind == "text":
                nodes.append(Text(text=token.text))
                continue
            word = self._peek()
            if word.kind == "word" and word.text in _BODY_ENDS:
                return tuple(nodes), self._take()
            nodes.append(self._action(token))
        if ends:
            raise self._error(self._peek(), "unexpected EOF")
        return tuple(nodes), None

    def _action(self, left: Token) -> Node:
        word = self._peek()
        if word.kind == "word" and word.text in _KEYWORDS:
            self._take()
            if word.text in _BRANCHES:
                return self._branch(word)
            if word.text in {"break", "continue"}:
                return self._jump(word)
            raise self._error(word, f"{{{{{word.text}}}}} is not supported here")
        pipe = self._pipe("command", "right")
        return Action(start=left.end, end=pipe.end, pipe=pipe)

    def _jump(self, word: Token) -> Jump:
        if not self._loops:
            raise self._error(word, f"{{{{{word.text}}}}} outside {{{{range}}}}")
        self._expect_right(word.text)
        return Jump(start=word.start, end=word.end, kind=word.text)

    def _expect_right(self, context: str) -> None:
        token = self._take()
        if token.kind != "right":
            raise self._error(token, f'unexpected "{token.text}" in {context}')

    def _branch(self, word: Token) -> Branch:
        scope = len(self._variables)
        pipe = self._pipe(word.text, "right")
        is_loop = word.text == "range"
        self._loops += is_loop
        body, end = self.body(ends=_BODY_ENDS)
        self._loops -= is_loop
        orelse: tuple[Node, ...] = ()
        if end is not None and end.text == "else":
            orelse, end = self._else(word)
        elif end is not None:
            self._expect_right("end")
        del self._variables[scope:]
        return Branch(
            start=word.start,
            end=pipe.end,
            kind=word.text,
            pipe=pipe,
            body=body,
            orelse=orelse,
        )

    def _else(self, word: Token) -> tuple[tuple[Node, ...], Token | None]:
        following = self._peek()
        if following.kind == "word" and following.text == word.text != "range":
            # {{else if}} shares the {{end}} of its {{if}}.
            self._take()
            return (self._branch(following),), None
        self._expect_right("else")
        orelse, end = self.body(ends=_BODY_ENDS)
        if end is not None and end.text == "else":
            raise self._error(end, "expected end; found {{else}}")
        self._expect_right("end")
        return orelse, end

    # Pipes.

    def _commands(self, context: str, end: str) -> list[Command]:
        """Read `command | command ...` as far as `end`, which stays."""
        commands: list[Command] = []
        while (token := self._peek()).kind != end:
            if token.kind == "|" and commands:
                self._take()
                continue
            if token.kind in {"end", "right", ")", "|"}:
                raise self._error(token, _unexpected(token, context))
            commands.append(self._command(context))
        if not commands:
            raise self._error(self._peek(), f"missing value for {context}")
        return commands

    def _pipe(self, context: str, end: str) -> Pipe:
        first = self._peek()
        variables, declares = self._declaration(context)
        commands = self._commands(context, end)
        close = self._take()
        for stage, command in enumerate(commands[1:], 2):
            self._check_stage(command, stage)
        # Not before: `{{$x := $x}}` means the outer one on the right.
        if declares:
            self._variables.extend(variables)
        return Pipe(
            start=first.start,
            end=close.start,
            variables=variables,
            declares=declares,
            commands=tuple(commands),
        )

    def _check_stage(self, command: Command, stage: int) -> None:
        if isinstance(command.operands[0], Literal):
            reason = f"non executable command in pipeline stage {stage}"
            raise error_at(self._source, command.start, reason)

    def _declaration(self, context: str) -> tuple[tuple[str, ...], bool]:
        """Read `$x :=`, `$i, $v :=` or `$x =`, if there is one."""
        ahead = [token.kind for token in self._tokens[self._next : self._next + 4]]
        has_two = ahead[:3] == ["variable", ",", "variable"] and context == "range"
        after = ahead[3:] if has_two else ahead[1:2]
        if ahead[:1] != ["variable"] or after not in ([":="], ["="]):
            return (), False
        names = [self._take()]
        if has_two:
            self._take()
            names.append(self._take())
        declares = self._take().kind == ":="
        for token in names if not declares else ():
            self._check_variable(token)
        return tuple(token.text for token in names), declares

    def _check_variable(self, token: Token) -> None:
        if token.text not in self._variables:
            raise self._error(token, f'undefined variable "{token.text}"')

    def _command(self, context: str) -> Command:
        operands = [self._operand(context)]
        while self._peek().kind not in {"right", ")", "|", "end"}:
            token = self._peek()
            if not token.spaced:
                raise self._error(token, _unexpected(token, context))
            operands.append(self._operand(context))
        first, last = operands[0], operands[-1]
        return Command(start=first.start, end=last.end, operands=tuple(operands))

    def _operand(self, context: str) -> Operand:
        token = self._take()
        operand = self._term(token, context)
        chain: list[Token] = []
        while self._peek().kind == "field" and not self._peek().spaced:
            chain.append(self._take())
        if not chain:
            return operand
        names = tuple(link.text[1:] for link in chain)
        # Go says that the second link is where a chain stands.
        start, end = chain[0].start, chain[-1].end
        match operand:
            case Field():
                return replace(operand, names=operand.names + names, start=operand.start, end=end)
            case Variable() | Chain():
                return replace(operand, names=operand.names + names, end=end)
            case _:
                raise error_at(self._source, start, f"unexpected . after term {quote(token.text)}")

    def _term(self, token: Token, context: str) -> Operand:
        start, end = token.start, token.end
        match token.kind:
            case "field":
                return Field(start=start, end=end, names=(token.text[1:],))
            case ".":
                return Field(start=start, end=end, names=())
            case "variable":
                self._check_variable(token)
                return Variable(start=start, end=end, name=token.text, names=())
            case "word":
                return self._word(token)
            case "(":
                pipe = self._pipe("parenthesized pipeline", ")")
                return Chain(start=start, end=pipe.end + 1, pipe=pipe, names=())
            case "string" | "raw" | "char" | "number":
                return Literal(start=start, end=end, value=self._constant(token))
            case _:
                raise self._error(token, _unexpected(token, context))

    def _word(self, token: Token) -> Operand:
        if token.text in _CONSTANTS:
            return Literal(start=token.start, end=token.end, value=_CONSTANTS[token.text])
        if token.text not in self._functions:
            raise self._error(token, f'function "{token.text}" not defined')
        return Function(start=token.start, end=token.end, name=token.text)

    def _constant(self, token: Token) -> Value:
        if token.kind == "number":
            return self._number(token)
        try:
            return unquote_char(token.text) if token.kind == "char" else unquote(token.text)
        except InputError as error:
            raise self._error(token, str(error)) from error

    def _number(self, token: Token) -> Value:
        text = token.text.replace("_", "")
        try:
            return int(text, 0)
        except ValueError:
            pass
        try:
            # A leading zero means octal.
            return int(text, 8)
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError as error:
            raise self._error(token, f'bad number syntax: "{token.text}"') from error


def _unexpected(token: Token, context: str) -> str:
    if token.kind == "end":
        return "unclosed action"
    if token.kind == ")":
        return "unexpected right paren"
    if token.kind == "right" and context == "parenthesized pipeline":
        return "unclosed left paren"
    if token.kind == "right":
        return f"missing value for {context}"
    return f'unexpected "{token.text}" in {context}'
