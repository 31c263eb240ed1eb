"""What an evaluation knows: the input, what was found out already, how much it may still do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from polyarch.errors import InputError
from polyarch.rego.faults import At, RegoError
from polyarch.rego.nodes import Term
from polyarch.rego.program import Path, Program
from polyarch.rego.values import Obj, SetOf

__all__ = ["Budget", "Context", "Documents", "Host", "too_deep"]

_STEPS = 500_000
_LARGEST_TEXT = 1 << 24
_MOST_MEMBERS = 1_000_000


Host = Mapping[str, tuple[int, Callable[..., object]]]
"""Functions of whoever asks: the number of their arguments, and what returns a value or UNDEFINED."""


class Budget:
    """How much may still be done: a policy of somebody else's may be made to never end."""

    def __init__(self, steps: int = _STEPS) -> None:
        self._steps = steps

    def spend(self, at: At) -> None:
        """Take a step. Raises RegoError if it was one too many."""
        self._steps -= 1
        if self._steps < 0:
            raise RegoError(
                f"the policy takes more than {_STEPS} steps", at, kind="eval_budget_error"
            )

    @staticmethod
    def check(value: object, at: At) -> object:
        """Return a value. Raises RegoError for one that is too large."""
        if isinstance(value, str) and len(value) > _LARGEST_TEXT:
            raise RegoError(
                f"a text of more than {_LARGEST_TEXT} characters", at, kind="eval_budget_error"
            )
        if isinstance(value, tuple | Obj | SetOf) and len(value) > _MOST_MEMBERS:
            raise RegoError(
                f"a collection of more than {_MOST_MEMBERS} members", at, kind="eval_budget_error"
            )
        return value


class Documents(Protocol):
    """What there is below `data`."""

    def below(
        self, context: Context, path: Path, steps: tuple[Term, ...], env: Mapping[str, object], /
    ) -> Iterator[tuple[object, Mapping[str, object]]]:
        """Give what a path and steps below it lead to, each with the variables that are known then."""

    def call(
        self, context: Context, path: Path, arguments: tuple[object, ...], at: At, /
    ) -> object:
        """Return the result of a function, UNDEFINED for none."""


class Context:
    """What an evaluation knows; `replaced` are paths below `data` that `with` gave other values."""

    def __init__(
        self,
        program: Program,
        *,
        host: Host,
        given: object,
        budget: Budget | None = None,
        replaced: Sequence[tuple[Path, object]] = (),
        prints: Callable[[At, str], None] | None = None,
    ) -> None:
        self.program = program
        self.host = host
        self.given = given
        self.budget = budget or Budget()
        self.replaced = tuple(replaced)
        self.prints = prints
        self.cache: dict[Path, object] = {}
        self.stack: list[Path] = []
        self.documents: Documents

    def changed(self, changes: Sequence[tuple[tuple[str, ...], object]]) -> Context:
        """Return a context in which `with` has replaced something."""
        given, replaced = self.given, list(self.replaced)
        for target, value in changes:
            if target[0] == "input":
                given = _put(given, target[1:], value)
            else:
                replaced.append((target[1:], value))
        made = Context(
            self.program,
            host=self.host,
            given=given,
            budget=self.budget,
            replaced=replaced,
            prints=self.prints,
        )
        made.stack = self.stack
        made.documents = self.documents
        return made


def _put(whole: object, path: Sequence[str], value: object) -> object:
    if not path:
        return value
    if not isinstance(whole, Obj):
        whole = Obj()
    name, *rest = path
    below = None if name in whole.pending else whole.get(name)
    pending = {each: field for each, field in whole.pending.items() if each != name}
    pairs = [(key, each) for key, each in whole.items() if key != name]
    return Obj([*pairs, (name, _put(below, rest, value))], pending)


def too_deep() -> InputError:
    """Return the error for rules that ask one another too often."""
    return InputError("the policy's rules are nested too deep to be evaluated")
