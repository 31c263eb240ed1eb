"""An instruction, cut into its parts but not typed yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from polyarch.dockerfile.syntax.flags import FlagKind, Flags, parse_flags
from polyarch.dockerfile.syntax.lexer import Heredoc
from polyarch.dockerfile.syntax.statement import Statement
from polyarch.errors import DockerfileError
from polyarch.golang.unicode import SPACE
from polyarch.graph.location import Location
from polyarch.record import frozen

if TYPE_CHECKING:
    # Made when the program runs it would compile its annotations, which takes 1 ms.
    class Common(TypedDict):
        """What every instruction has."""

        location: Location
        text: str
        comments: tuple[str, ...]


__all__ = ["ParsedLine"]

_NO_FLAGS: Mapping[str, FlagKind] = {}


@frozen
class ParsedLine:
    """An instruction, cut into its parts, with what belongs to it."""

    statement: Statement
    heredocs: tuple[Heredoc, ...]
    location: Location
    """Its lines, here-documents included."""
    comments: tuple[str, ...]
    """The comment lines above, without `#` and outer blanks."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words behind the flags."""
        return self.statement.arguments

    def flags(self, known: Mapping[str, FlagKind] = _NO_FLAGS) -> Flags:
        """The flags, checked against those known."""
        return parse_flags(self.statement.flags, known)

    def common(self) -> Common:
        """Return what its instruction has, whichever it is."""
        return {
            "location": self.location,
            "text": self.statement.text.strip(SPACE),
            "comments": self.comments,
        }

    def one_argument(self) -> str:
        """Return its only argument. Raises DockerfileError if it hasn't just one."""
        if len(self.arguments) != 1:
            raise DockerfileError(f"{self.statement.name.upper()} requires exactly one argument")
        return self.arguments[0]

    def some_arguments(self) -> tuple[str, ...]:
        """Return its arguments. Raises DockerfileError if it has none."""
        if not self.arguments:
            raise DockerfileError(f"{self.statement.name.upper()} requires at least one argument")
        return self.arguments

    def comment_on(self, name: str) -> str:
        """Return what a comment says of a name: the rest of the first line that begins with it."""
        for comment in self.comments if name else ():
            if comment.startswith(f"{name} "):
                return comment.removeprefix(f"{name} ")
        return ""
