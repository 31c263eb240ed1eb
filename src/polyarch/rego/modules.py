"""A module as it is written: package, imports, rules."""

from __future__ import annotations

from polyarch.graph.location import SourceText
from polyarch.rego.bodies import Bodies
from polyarch.rego.faults import At, RegoError
from polyarch.rego.nodes import Body, Import, Module, Rule, Scalar, Term
from polyarch.rego.terms import dotted

__all__ = ["parse_module"]

_ADDED = frozenset({"rego.v1", "future.keywords"})
"""What version 1 has anyway."""
_OURS = "polyarch has version 1 of Rego alone"


def parse_module(name: str, text: str) -> Module:
    """Read a module; `name` is what messages call it. Raises RegoError."""
    return _Modules(SourceText(name=name, text=text)).module()


class _Modules(Bodies):
    def module(self) -> Module:
        if not self.skip("package"):
            self.fail("package expected")
        package = self._path()
        imports = []
        while self.sees("import"):
            if found := self._import():
                imports.append(found)
        rules = []
        while self.next.kind != "end":
            if self.sees("import"):
                self.fail("imports stand before the rules")
            rules.append(self._rule())
        return Module(self.source.name, package, tuple(imports), tuple(rules))

    def _path(self) -> tuple[str, ...]:
        name = dotted(self._postfix(self._primary()))
        if not name:
            self.fail("expected a path of names")
        return tuple(name.split("."))

    def _import(self) -> Import | None:
        at = self.at
        self.expect("import")
        path = self._path()
        alias = self.name() if self.skip("as") else path[-1]
        whole = ".".join(path)
        if whole in _ADDED or whole.startswith("future.keywords."):
            return None
        if path[0] not in {"data", "input"}:
            self.fail(f"invalid import {whole}: it begins with data or input")
        return Import(path, alias, at)

    # --- rules ---

    def _rule(self) -> Rule:
        at = self.at
        is_default = self.skip("default")
        name = self.name()
        path = self._steps()
        arguments = None
        if not self.next.is_apart and self.skip("("):
            arguments = self.arguments()
        member = self.term() if self.skip("contains") else None
        value = self._value(at)
        body = self._body_of_rule()
        otherwise = self._else(name, arguments, at) if self.sees("else") else None
        if is_default and (body or otherwise or member is not None or path):
            self.fail("a default has a name and a value, nothing else")
        return Rule(name, path, arguments, member, value, body, is_default, otherwise, at)

    def _steps(self) -> tuple[Term, ...]:
        found: list[Term] = []
        while not self.next.is_apart:
            at = self.at
            if self.skip("."):
                if self.next.kind != "name":
                    self.fail("expected a name")
                found.append(Scalar(self.take().value, at))
            elif self.skip("["):
                found.append(self.term())
                self.expect("]")
            else:
                break
        return tuple(found)

    def _value(self, at: At) -> Term:
        if self.skip(":=") or self.skip("="):
            return self.term()
        return Scalar(True, at)

    def _body_of_rule(self) -> Body:
        if self.skip("if"):
            return self._braced() if self.sees("{") else (self.statement(),)
        if self.sees("{"):
            self.fail(f"`if` keyword is required before rule body: {_OURS}")
        return ()

    def _braced(self) -> Body:
        """Read a body in braces, or what only looks like one: `{"a": 1}.a == 1`."""
        start = self.position
        self.take()
        try:
            return self.body("}")
        except RegoError as error:
            self.position = start
            try:
                return (self.statement(),)
            except RegoError:
                raise error from None

    def _else(self, name: str, arguments: tuple[Term, ...] | None, first: At) -> Rule:
        at = self.at
        self.expect("else")
        value = self._value(first)
        body = self._body_of_rule()
        otherwise = self._else(name, arguments, first) if self.sees("else") else None
        return Rule(name, (), arguments, None, value, body, False, otherwise, at)
