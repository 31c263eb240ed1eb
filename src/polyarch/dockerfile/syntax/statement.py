"""A logical line -> keyword, flags and arguments; what the words mean isn't asked yet.

The behaviour is that of BuildKit's `frontend/dockerfile/parser` (`split_command.go`,
`line_parsers.go`): unknown keywords and wrong numbers of arguments are no errors here.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.errors import DockerfileError
from polyarch.golang.json import read_json
from polyarch.golang.strconv import quote
from polyarch.golang.unicode import SPACE, is_space
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["Statement", "split_statement", "split_words"]

_MAX_DEPTH = 100
_BLANKS = pattern(r"[\t\v\f\r ]+")
_ASCII_BLANKS = pattern(r"[\t\n\v\f\r \x85\xa0]+")


@frozen
class Statement:
    """An instruction cut into its parts."""

    keyword: str
    """As it was written."""
    flags: tuple[str, ...] = ()
    """With their dashes, quotes removed."""
    arguments: tuple[str, ...] = ()
    """Of ENV and LABEL: keys and values in turns, quotes kept."""
    is_json: bool = False
    is_legacy: bool = False
    """`ENV name value`: the form without the equals sign."""
    text: str
    trigger: Statement | None = None
    """The instruction behind ONBUILD."""

    @property
    def name(self) -> str:
        """The keyword in lower case."""
        return self.keyword.lower()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The arguments of ENV and LABEL as pairs."""
        return tuple(zip(self.arguments[::2], self.arguments[1::2], strict=True))


@frozen
class _Arguments:
    arguments: tuple[str, ...] = ()
    is_json: bool = False
    is_legacy: bool = False


def split_statement(text: str, *, escape: str = "\\", depth: int = 0) -> Statement:
    """Cut an instruction into its parts.

    Raises DockerfileError, without a place, for `ENV name`, a missing equals sign, and a JSON array
    that holds anything but texts. `depth` counts the ONBUILDs around it.
    """
    keyword, *others = _BLANKS.split(text.strip(SPACE), maxsplit=1)
    flags, rest = _split_flags(others[0], escape) if others else ((), "")
    rest = rest.strip(SPACE)
    name = keyword.lower()
    if name == "onbuild":
        if depth > _MAX_DEPTH:
            raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        trigger = split_statement(rest, escape=escape, depth=depth + 1) if rest else None
        return Statement(keyword=keyword, flags=flags, text=text, trigger=trigger)
    read = _READERS.get(name, _read_nothing)
    found = read(rest, name, escape)
    return Statement(
        keyword=keyword,
        flags=flags,
        arguments=found.arguments,
        is_json=found.is_json,
        is_legacy=found.is_legacy,
        text=text,
    )


def _split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """Split leading words that begin with two dashes from the rest; a bare `--` ends them."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and is_space(text[position]):
            position += 1
        if not text.startswith("--", position):
            return tuple(flags), text[position:]
        word, position, is_quoted = _flag_word(text, position, escape)
        if word == "--":
            return tuple(flags), text[position:]
        if word or is_quoted:
            flags.append(word)


def _flag_word(text: str, position: int, escape: str) -> tuple[str, int, bool]:
    """Read one word: quotes group and go away, the escape character makes the next one literal."""
    word: list[str] = []
    open_quote = ""
    is_quoted = False
    while position < len(text):
        char = text[position]
        position += 1
        if open_quote:
            if char == open_quote:
                open_quote = ""
                continue
        elif is_space(char):
            return "".join(word), position - 1, is_quoted
        elif char in "'\"":
            open_quote = char
            is_quoted = True
            continue
        if char == escape:
            char = text[position : position + 1]
            position += 1
        word.append(char)
    return "".join(word), len(text), is_quoted


def split_words(text: str, escape: str) -> list[str]:
    """Split at blanks outside of quotes; quotes and escape characters stay."""
    words: list[str] = []
    word: list[str] = []
    open_quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not open_quote and is_space(char):
            if word:
                words.append("".join(word))
                word = []
            continue
        if char == escape and open_quote != "'":
            following = text[position : position + 1]
            position += 1
            # An escape character at the very end means nothing and is dropped.
            word.append(char + following if following else "")
            continue
        if open_quote:
            open_quote = "" if char == open_quote else open_quote
        elif char in "'\"":
            open_quote = char
        word.append(char)
    if "".join(word):
        words.append("".join(word))
    return words


def _read_nothing(_rest: str, _name: str, _escape: str) -> _Arguments:
    return _Arguments()


def _read_text(rest: str, _name: str, _escape: str) -> _Arguments:
    return _Arguments(arguments=(rest,) if rest else ())


def _read_list(rest: str, _name: str, _escape: str) -> _Arguments:
    return _Arguments(arguments=tuple(_BLANKS.split(rest)) if rest else ())


def _read_definitions(rest: str, _name: str, escape: str) -> _Arguments:
    return _Arguments(arguments=tuple(split_words(rest, escape)))


def _read_pairs(rest: str, name: str, escape: str) -> _Arguments:
    """`key=value …`, or `key` and the rest as its value if the first word has no equals sign."""
    words = split_words(rest, escape)
    if not words:
        return _Arguments()
    if "=" not in words[0]:
        parts = _BLANKS.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise DockerfileError(f"{name.upper()} must have two arguments")
        return _Arguments(arguments=tuple(parts), is_legacy=True)
    arguments: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(
                f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value"
            )
        arguments += key, value
    return _Arguments(arguments=tuple(arguments))


def _read_command(rest: str, name: str, escape: str) -> _Arguments:
    strings = _json_strings(rest)
    if strings is None:
        return _read_text(rest, name, escape)
    return _Arguments(arguments=strings, is_json=True)


def _read_paths(rest: str, name: str, escape: str) -> _Arguments:
    strings = _json_strings(rest)
    if strings is None:
        return _read_list(rest, name, escape)
    return _Arguments(arguments=strings, is_json=True)


def _read_healthcheck(rest: str, name: str, escape: str) -> _Arguments:
    kind, *others = _ASCII_BLANKS.split(rest, maxsplit=1)
    if not kind:
        return _Arguments()
    command = _read_command("".join(others), name, escape)
    return _Arguments(arguments=(kind, *command.arguments), is_json=command.is_json)


_READERS: dict[str, Callable[[str, str, str], _Arguments]] = {
    "add": _read_paths,
    "arg": _read_definitions,
    "cmd": _read_command,
    "copy": _read_paths,
    "entrypoint": _read_command,
    "env": _read_pairs,
    "expose": _read_list,
    "from": _read_list,
    "healthcheck": _read_healthcheck,
    "label": _read_pairs,
    "maintainer": _read_text,
    "run": _read_command,
    "shell": _read_command,
    "stopsignal": _read_text,
    "user": _read_text,
    "volume": _read_paths,
    "workdir": _read_text,
}


def _json_strings(text: str) -> tuple[str, ...] | None:
    """Read a JSON array of texts; None if the text is no JSON array at all.

    Raises DockerfileError for an array with anything else in it.
    """
    text = text.lstrip(SPACE)
    if not text.startswith("["):
        return None
    try:
        items = read_json(text)
    except ValueError:
        return None
    assert isinstance(items, list)
    if not all(isinstance(item, str) for item in items):
        raise DockerfileError(
            "when using JSON array syntax, arrays must be comprised of strings only"
        )
    return tuple(items)
