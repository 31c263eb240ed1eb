"""Several policies of one build, asked of its sources until they have decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.policies.policy import Action, Decision
from polyarch.policies.told import NOTHING, Source, Told, Wish
from polyarch.record import frozen

__all__ = ["Asks", "Denied", "Policies", "decide", "require", "require_news"]

_MOST_ROUNDS = 10
_MOST_CHANGES = 10


class Asks(Protocol):
    """A policy."""

    def decide(self, source: Source, told: Told = NOTHING) -> Decision | Wish:
        """Return a decision, or what has to be known for one."""


class Denied(InputError):
    """A source that a policy doesn't allow; `messages` are the policy's own words."""

    def __init__(self, source: Source, messages: tuple[str, ...]) -> None:
        super().__init__(f"source {quote(source.identifier)} not allowed by policy: action DENY")
        self.messages = messages
        self.told = tuple(f"Policy: {each}" for each in messages)


@frozen
class Policies:
    """Policies all of which have to allow a source. The first that doesn't, or wants another one, has decided."""

    policies: tuple[Asks, ...]

    def decide(self, source: Source, told: Told = NOTHING) -> Decision | Wish:
        """Return what they decide, or what the first that doesn't know enough has to know. Raises as they do."""
        for each in self.policies:
            found = each.decide(source, told)
            if isinstance(found, Wish) or found.action != Action.ALLOW:
                return found
        return Decision(action=Action.ALLOW)


def decide(policy: Asks, source: Source, find: Callable[[Source, Wish], Told]) -> Decision:
    """Ask until there is a decision, finding out what is wished for. Raises InputError, and what `find` raises."""
    told, wish = NOTHING, Wish()
    for _ in range(_MOST_ROUNDS):
        found = policy.decide(source, told)
        if isinstance(found, Decision):
            return found
        require_news(source, found, wish)
        wish |= found
        told = find(source, wish)
    raise InputError("maximum attempts reached for resolving policy metadata")


def require_news(source: Source, wish: Wish, known: Wish) -> None:
    """Raise InputError for a wish that was to be fulfilled already."""
    if wish.fields <= known.fields and wish.checksum in {None, known.checksum}:
        raise InputError(
            f"the policy asks for {wish} of {source}, which can't be found out",
            hint="signatures of images can't be verified by policies yet",
        )


def require(policy: Asks, source: Source, find: Callable[[Source, Wish], Told]) -> Source:
    """Return the source that is to be used: this one, or what takes its place. Raises Denied, and as `decide`."""
    seen: Iterable[str] = ()
    for _ in range(_MOST_CHANGES):
        found = decide(policy, source, find)
        if found.action == Action.DENY:
            raise Denied(source, found.messages)
        if found.action == Action.ALLOW or found.update is None:
            return source
        source = found.update
        if source.identifier in seen:
            return source
        seen = (*seen, source.identifier)
    raise InputError(f"too many policy requests on {source.identifier}")
