"""The modules of a policy, compiled: rules by their paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from polyarch.rego.builtins.table import arity_of
from polyarch.rego.faults import RegoError
from polyarch.rego.nodes import Module, Rule, Scalar, Term
from polyarch.rego.resolve import Resolver

__all__ = ["Compiled", "Path", "Program", "compile_modules"]

Path = tuple[str, ...]


class Compiled(NamedTuple):
    """A rule: `path` below `data`; `keys` are those of an object that its path ends in."""

    path: Path
    keys: tuple[Term, ...]
    rule: Rule


class Program:
    """What there is below `data`: the rules at each path, and the names below each."""

    def __init__(self, rules: Iterable[Compiled], modules: Iterable[Module]) -> None:
        self.modules = tuple(modules)
        self.rules: dict[Path, list[Compiled]] = {}
        self.children: dict[Path, dict[str, None]] = {}
        for each in rules:
            self.rules.setdefault(each.path, []).append(each)
        for path in [*self.rules, *(module.package for module in self.modules)]:
            for end in range(len(path)):
                self.children.setdefault(path[:end], {})[path[end]] = None

    def is_function(self, path: Path) -> bool:
        """Tell whether the rules at a path are a function."""
        return any(each.rule.arguments is not None for each in self.rules.get(path, ()))


def compile_modules(modules: Iterable[Module], functions: Mapping[str, int]) -> Program:
    """Resolve all names of the modules. `functions` are those of the host, with the number of their arguments.

    Raises RegoError.
    """
    listed = tuple(modules)
    names: dict[Path, dict[str, Path]] = {}
    arities: dict[str, int] = {}
    for module in listed:
        for rule in module.rules:
            names.setdefault(module.package, {})[rule.name] = ("data", *module.package, rule.name)
            if rule.arguments is not None:
                _note(arities, ".".join(("data", *_static(module.package, rule)[0])), rule)

    def arity(name: str) -> int | None:
        found = arities.get(name)
        return functions.get(name, arity_of(name)) if found is None else found

    compiled = []
    for module in listed:
        known = dict(names.get(module.package, {}))
        known.update((each.alias, each.path) for each in module.imports)
        resolver = Resolver(known, arity)
        for rule in module.rules:
            resolved = resolver.rule(rule)
            compiled.append(Compiled(*_static(module.package, resolved), resolved))
    return Program(compiled, listed)


def _note(arities: dict[str, int], name: str, rule: Rule) -> None:
    given = len(rule.arguments or ())
    if arities.setdefault(name, given) != given:
        raise RegoError(
            f"conflicting rules {name} found: they take different numbers of arguments",
            rule.at,
            kind="rego_type_error",
        )


def _static(package: Path, rule: Rule) -> tuple[Path, tuple[Term, ...]]:
    """Return the part of a rule's path that is written, and what isn't, or belongs to an object."""
    path = [*package, rule.name]
    steps = list(rule.path)
    while steps and isinstance(steps[0], Scalar) and isinstance(steps[0].value, str):
        path.append(steps.pop(0).value)  # type: ignore[union-attr, arg-type]
    return tuple(path), tuple(steps)
