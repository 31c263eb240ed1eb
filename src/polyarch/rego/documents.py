"""What there is below `data`: packages, and the rules in them with what they make together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyarch.graph.location import SourceText
from polyarch.rego.context import Context, too_deep
from polyarch.rego.evaluate import (
    Env,
    Found,
    below,
    combinations,
    is_known,
    match,
    solutions,
    values,
)
from polyarch.rego.faults import At, RegoError
from polyarch.rego.gather import CONFLICT, Entry, nested
from polyarch.rego.nodes import Scalar, Term
from polyarch.rego.program import Compiled, Path
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import Obj, equal

__all__ = ["find_value"]

_NOWHERE = At(SourceText(name="", text=""), 0)


def find_value(context: Context, path: Path) -> object:
    """Return what is at a path below `data`, UNDEFINED for nothing. Raises RegoError, Wanted."""
    context.documents = _Documents()
    steps = tuple(Scalar(each, _NOWHERE) for each in path)
    try:
        for value, _ in _below_data(context, (), steps, {}):
            return value
    except RecursionError:
        raise too_deep() from None
    return UNDEFINED


class _Documents:
    """What evaluation asks for below `data`."""

    def below(self, context: Context, path: Path, steps: tuple[Term, ...], env: Env) -> Found:
        """Go down from a path."""
        return _below_data(context, path, steps, env)

    def call(self, context: Context, path: Path, arguments: tuple[object, ...], at: At) -> object:
        """Return the result of a function."""
        return _function(context, path, arguments, at)


# --- paths ---


def _below_data(context: Context, path: Path, steps: tuple[Term, ...], env: Env) -> Found:
    """Go down from a path below `data`, through packages and rules."""
    for replaced, value in reversed(context.replaced):
        if replaced == path:
            yield from below(context, value, steps, env)
            return
    program = context.program
    if (path in program.rules and not program.is_function(path)) or not steps:
        value = _whole(context, path)
        if value is not UNDEFINED:
            yield from below(context, value, steps, env)
        return
    step, rest = steps[0], steps[1:]
    names = _names_below(context, path)
    if is_known(step, env):
        for name, after in values(context, step, env):
            if name in names:
                yield from _below_data(context, (*path, str(name)), rest, after)
        return
    for each in names:
        for after in match(context, step, each, env):
            yield from _below_data(context, (*path, each), rest, after)


def _names_below(context: Context, path: Path) -> Sequence[str]:
    """Return the names of what is right below a path: packages, rules, and what `with` puts there."""
    width = len(path)
    replaced = (
        each[width] for each, _ in context.replaced if each[:width] == path and len(each) > width
    )
    return tuple(dict.fromkeys((*context.program.children.get(path, ()), *replaced)))


def _whole(context: Context, path: Path) -> object:
    """Return all that is at a path: of rules their value, of packages an object of all that is in them."""
    program = context.program
    own = _rules(context, path) if path in program.rules else UNDEFINED
    below = program.children.get(path)
    if below is None or program.is_function(path):
        return own
    pairs = [
        (each, value)
        for each in below
        if not program.is_function((*path, each))
        for value, _ in _below_data(context, (*path, each), (), {})
    ]
    return Obj([*(own.items() if isinstance(own, Obj) else ()), *pairs])


# --- rules ---


def _rules(context: Context, path: Path) -> object:
    if path not in context.cache:
        rules = context.program.rules[path]
        if path in context.stack:
            raise RegoError(
                f"rule data.{'.'.join(path)} is recursive",
                rules[0].rule.at,
                kind="rego_recursion_error",
            )
        context.stack.append(path)
        try:
            context.cache[path] = _evaluated(context, rules)
        finally:
            context.stack.pop()
    return context.cache[path]


def _evaluated(context: Context, rules: Sequence[Compiled]) -> object:
    if any(each.rule.arguments is not None for each in rules):
        return UNDEFINED
    if any(each.keys or each.rule.member is not None for each in rules):
        return _partial(context, rules)
    return _complete(context, rules, ())


def _complete(context: Context, rules: Sequence[Compiled], arguments: tuple[object, ...]) -> object:
    """Return the one value of a rule or a function. Raises RegoError for two of them."""
    result: object = UNDEFINED
    default: object = UNDEFINED
    for each in rules:
        for value in _chain(context, each, arguments):
            if each.rule.is_default:
                default = value
            elif result is UNDEFINED:
                result = value
            elif not equal(result, value):
                kind = "functions" if each.rule.arguments is not None else "complete rules"
                raise RegoError(
                    f"{kind} must not produce multiple outputs", each.rule.at, kind=CONFLICT
                )
    return default if result is UNDEFINED else result


def _chain(context: Context, compiled: Compiled, arguments: tuple[object, ...]) -> Iterator[object]:
    """Give the values of a rule, of its first `else` that holds otherwise."""
    rule = compiled.rule
    while rule is not None:
        found = False
        for env in _given(context, rule.arguments, arguments):
            for after in solutions(context, rule.body, env):
                for value, _ in values(context, rule.value, after):
                    found = True
                    yield value
        if found or rule.otherwise is None:
            return
        rule = rule.otherwise


def _given(
    context: Context, patterns: tuple[Term, ...] | None, arguments: tuple[object, ...]
) -> Sequence[Env]:
    found: list[Env] = [{}]
    for pattern, value in zip(patterns or (), arguments, strict=True):
        found = [after for each in found for after in match(context, pattern, value, each)]
    return found


def _partial(context: Context, rules: Sequence[Compiled]) -> object:
    """Return the set, or the object, that rules make together."""
    entries: list[Entry] = []
    has_members = any(each.rule.member is not None for each in rules)
    for each in rules:
        rule = each.rule
        if rule.is_default:
            continue
        leaf = rule.value if rule.member is None else rule.member
        for env in solutions(context, rule.body, {}):
            for (value, *names), _ in combinations(context, (leaf, *each.keys), env):
                context.budget.spend(rule.at)
                entries.append((tuple(names), value, rule.at))
    return nested(entries, has_members=has_members)


def _function(context: Context, path: Path, arguments: tuple[object, ...], at: At) -> object:
    for replaced, value in reversed(context.replaced):
        if replaced == path:
            return value
    if path in context.stack:
        raise RegoError(f"rule data.{'.'.join(path)} is recursive", at, kind="rego_recursion_error")
    context.stack.append(path)
    try:
        return _complete(context, context.program.rules[path], arguments)
    finally:
        context.stack.pop()
