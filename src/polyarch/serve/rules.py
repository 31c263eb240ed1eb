"""Policies that clients send as a document: rules that allow sources, deny them, or replace them by others.

The last rule that matches counts, but one that replaces ends the look: what is there then is looked at anew.

Source: BuildKit's `sourcepolicy/pb/policy.proto`, `sourcepolicy`, `util/wildcard`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from polyarch.buildkit.messages import read_pairs
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.record import field, frozen
from polyarch.wire import Message

__all__ = ["NO_RULES", "Rules", "read_rules"]

_ALLOW, _DENY, _CONVERT = range(3)
_WILDCARD, _EXACT, _REGEX = range(3)
_EQUAL, _NOT_EQUAL, _MATCHES = range(3)
_MOST_CHANGES = 20
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_HINT = "that is for the policy that came with the build"


@frozen
class _Rule:
    """What is done with sources that match; `updates` are an identifier and attributes, None for neither."""

    action: int
    identifier: str
    kind: int
    constraints: Sequence[tuple[str, str, int]] = ()
    updates: tuple[str, Mapping[str, str]] | None = None

    def matches(self, identifier: str, attributes: Mapping[str, str]) -> bool:
        """Tell whether a source is meant. Raises InputError for what is no expression."""
        if not all(_holds(each, attributes) for each in self.constraints):
            return False
        return identifier == self.identifier or self._found(identifier) is not None

    def _found(self, identifier: str) -> re.Match[str] | None:
        if self.kind == _EXACT:
            return None
        if self.kind not in {_WILDCARD, _REGEX}:
            raise InputError(f"unknown match type: {self.kind}", hint=_HINT)
        return self._expression().search(identifier)

    def _expression(self) -> re.Pattern[str]:
        if self.kind == _REGEX:
            return _compiled(self.identifier)
        if "**" in self.identifier:
            raise InputError('invalid wildcard: "**"', hint=_HINT)
        return _compiled("^" + re.escape(self.identifier).replace(r"\*", "(.*)") + "$")

    def replaced(
        self, identifier: str, attributes: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str]]:
        """Return what a source is to be. Raises InputError."""
        if self.updates is None:
            raise InputError(
                "error mutating source policy: missing destination for convert rule", hint=_HINT
            )
        wanted, more = self.updates
        return self._formed(identifier, wanted or self.identifier), {**attributes, **more}

    def _formed(self, identifier: str, wanted: str) -> str:
        if self.kind == _EXACT:
            return wanted
        if self.kind == _REGEX:
            return self._expression().sub(lambda found: _expanded(wanted, found), identifier)
        found = self._found(identifier)
        return identifier if found is None else _expanded(wanted, found)


@frozen
class Rules:
    """The rules of all policies, each with its own."""

    policies: Sequence[Sequence[_Rule]] = field(default_factory=tuple)

    def replaced(
        self, identifier: str, attributes: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str]]:
        """Return what a source is to be, mostly as it is. Raises InputError for one that is denied."""
        for _ in range(_MOST_CHANGES + 1):
            found = self._changed(identifier, attributes)
            if found == (identifier, attributes):
                return found
            identifier, attributes = found
        raise InputError("too many mutations on a single source: too many operations", hint=_HINT)

    def _changed(
        self, identifier: str, attributes: Mapping[str, str]
    ) -> tuple[str, Mapping[str, str]]:
        for rules in self.policies:
            is_denied = False
            for rule in rules:
                if not rule.matches(identifier, attributes):
                    continue
                if rule.action == _CONVERT:
                    found = rule.replaced(identifier, attributes)
                    if found != (identifier, attributes):
                        return found
                elif rule.action in {_ALLOW, _DENY}:
                    is_denied = rule.action == _DENY
                else:
                    told = f"rule {rule.action} {rule.identifier}: unknown type {quote(identifier)}"
                    raise InputError(f"source policy: {told}", hint=_HINT)
            if is_denied:
                raise InputError(
                    f"source {quote(identifier)} denied by policy: source denied by policy"
                )
        return identifier, attributes


NO_RULES = Rules()


def read_rules(policies: Sequence[bytes]) -> Rules:
    """Read policies as they come. Raises InputError for a rule that says nothing of what it is for."""
    return Rules(policies=tuple(tuple(map(_rule, Message(each).messages(2))) for each in policies))


def _rule(message: Message) -> _Rule:
    if not message.all(2):
        raise InputError("invalid nil selector in policy", hint=_HINT)
    selector, updates = Message(message.bytes(2)), Message(message.bytes(3))
    return _Rule(
        action=message.integer(1),
        identifier=selector.text(1),
        kind=selector.integer(2),
        constraints=tuple(
            (each.text(1), each.text(2), each.integer(3)) for each in selector.messages(3)
        ),
        updates=(updates.text(1), read_pairs(updates, 2)) if message.all(3) else None,
    )


def _holds(constraint: tuple[str, str, int], attributes: Mapping[str, str]) -> bool:
    key, value, condition = constraint
    found = attributes.get(key, "")
    if condition == _MATCHES:
        return _compiled(value).search(found) is not None
    if condition not in {_EQUAL, _NOT_EQUAL}:
        raise InputError(f"unknown attr condition: {condition}", hint=_HINT)
    return (found == value) == (condition == _EQUAL)


def _compiled(source: str) -> re.Pattern[str]:
    try:
        return re.compile(source)
    except re.error as error:
        raise InputError(f"invalid regex {quote(source)}: {error}", hint=_HINT) from error


def _expanded(wanted: str, found: re.Match[str]) -> str:
    """Return a text with `$1`, `${1}` and `${name}` as Go's expressions have them."""

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        try:
            return found[int(name) if name.isdecimal() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(group, wanted)
