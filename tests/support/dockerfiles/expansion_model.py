r"""A second expansion of variables, for comparing: slow, simple, and sharing nothing with the first.

Written from the rules, not from the code: a text becomes a list of characters, each with a mark that tells
if a blank there ends a word; patterns are tried on every piece of the value. Only whether something is
refused is compared, not the words of the refusal.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Refused", "expand_simply"]

_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_Marked = list[tuple[str, bool]]
_Atoms = list[tuple[str, bool]]


class Refused(Exception):
    """What the rules don't allow."""


def expand_simply(
    text: str, env: Mapping[str, str], *, escape: str = "\\", heredoc: bool = False
) -> tuple[str, list[str]]:
    """Expand a text; return it whole, and split into words. In a `heredoc` quotes mean nothing."""
    model = _Model(text.removeprefix("\ufeff"), env, escape, heredoc)
    marked, _rest = model.sequence(0, "", keep=False)
    return "".join(char for char, _splits in marked), _split(marked)


def _split(marked: _Marked) -> list[str]:
    words = [""]
    for char, splits in marked:
        if splits and char in _BLANKS:
            words.append("")
        else:
            words[-1] += char
    return [word for word in words if word]


class _Model:
    """All methods take where to begin, and return what they made and where they ended."""

    def __init__(self, text: str, env: Mapping[str, str], escape: str, heredoc: bool) -> None:
        self.text = text
        self.env = env
        self.escape = escape
        self.quotes = "" if heredoc else "'\""

    def at(self, place: int) -> str:
        return self.text[place : place + 1]

    def sequence(self, place: int, stop: str, *, keep: bool) -> tuple[_Marked, int]:
        """Up to the character `stop`, or the end. With `keep`, escape characters stay."""
        made: _Marked = []
        while place < len(self.text):
            char = self.text[place]
            if char == stop:
                return made, place + 1
            part, place = self.part(place, keep=keep)
            made += part
        if stop:
            raise Refused
        return made, place

    def part(self, place: int, *, keep: bool) -> tuple[_Marked, int]:
        char = self.text[place]
        if char == "$":
            value, place = self.variable(place + 1, keep=keep)
            return [(char, True) for char in value], place
        if char == self.escape:
            kept = (char if keep else "") + self.at(place + 1)
            return [(char, False) for char in kept], place + 2
        if char in self.quotes:
            value, place = (
                self.single(place + 1) if char == "'" else self.double(place + 1, keep=keep)
            )
            return [(char, False) for char in value], place
        if self.text.startswith("<<", place):  # a here-document and its name are one word
            end = place + 2
            while self.at(end) and self.at(end) in _BLANKS:
                end += 1
            return [(char, False) for char in self.text[place:end]], end
        return [(char, True)], place + 1

    def single(self, place: int) -> tuple[str, int]:
        end = self.text.find("'", place)
        if end < 0:
            raise Refused
        return self.text[place:end], end + 1

    def double(self, place: int, *, keep: bool) -> tuple[str, int]:
        made = ""
        while place < len(self.text):
            char = self.text[place]
            if char == '"':
                return made, place + 1
            if char == "$":
                value, place = self.variable(place + 1, keep=keep)
                made += value
            elif char == self.escape and (following := self.at(place + 1)):
                is_known = following in {'"', "$", self.escape}
                made += (char if keep else "") + (following if is_known else char)
                place += 2 if is_known else 1
            else:
                made += char
                place += 1
        raise Refused

    def name(self, place: int) -> tuple[str, int]:
        end = place
        if self.at(place).isdecimal():
            while self.at(end).isdecimal():
                end += 1
        elif self.at(place) and self.at(place) in "@*#?-$!0":
            end += 1
        else:
            while self.at(end).isalpha() or self.at(end).isdecimal() or self.at(end) == "_":
                end += 1
        return self.text[place:end], end

    def variable(self, place: int, *, keep: bool) -> tuple[str, int]:
        if self.at(place) != "{":
            name, end = self.name(place)
            return (self.env.get(name, ""), end) if name else ("$", place)
        if self.at(place + 1) in {"", "{", "}", ":"}:
            raise Refused
        name, place = self.name(place + 1)
        value = self.env.get(name)
        for modifier in ("}", ":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/"):
            if self.text.startswith(modifier, place):
                return self.modified(modifier, place + len(modifier), value)
        raise Refused

    def modified(self, modifier: str, place: int, value: str | None) -> tuple[str, int]:
        if modifier == "}":
            return value or "", place
        if modifier[0] == "/":
            pattern, place = self.operand(place, "/", keep=True)
            new, place = self.operand(place, "}", keep=True)
            return _replace(value or "", _atoms(pattern), new, every=modifier == "//"), place
        if modifier[0] in "#%":
            pattern, place = self.operand(place, "}", keep=True)
            if len(modifier) == 1 and pattern.startswith(modifier):
                # What a pattern begins with counts after its variables are expanded.
                modifier, pattern = modifier * 2, pattern[1:]
            atoms = _atoms(pattern) if modifier[0] == "#" else _suffix_atoms(pattern)
            return _remove(value or "", atoms, modifier), place
        word, place = self.operand(place, "}", keep=False)
        is_absent = value is None or (modifier[0] == ":" and value == "")
        if modifier[-1] == "?" and is_absent:
            raise Refused
        if modifier[-1] == "+":
            return "" if is_absent else word, place
        return word if is_absent and modifier[-1] == "-" else value or "", place

    def operand(self, place: int, stop: str, *, keep: bool) -> tuple[str, int]:
        marked, place = self.sequence(place, stop, keep=keep)
        return "".join(char for char, _splits in marked), place


def _atoms(pattern: str) -> _Atoms:
    """Cut a pattern into characters, each with a mark that tells if it is a wildcard."""
    atoms: _Atoms = []
    place = 0
    while place < len(pattern):
        char = pattern[place]
        if char == "\\":
            place += 1
            char = pattern[place : place + 1]
            if char not in {"*", "?", "\\", "}", "/"}:
                raise Refused
            atoms.append((char, False))
        else:
            atoms.append((char, char in "*?"))
        place += 1
    return atoms


def _suffix_atoms(pattern: str) -> _Atoms:
    """Cut a pattern for suffixes: a backslash at its very end escapes what it begins with."""
    pairs: list[str] = []
    while pattern:
        size = 2 if pattern.startswith("\\") else 1
        pairs.append(pattern[:size])
        pattern = pattern[size:]
    return _atoms("".join(reversed(pairs)))[::-1]


def _matches(atoms: _Atoms, text: str) -> bool:
    """Tell if the pattern is all of the text: every state is followed, character by character."""
    states = _reached(atoms, {0})
    for char in text:
        following: set[int] = set()
        for state in states:
            if state == len(atoms):
                continue
            atom, is_wild = atoms[state]
            if is_wild and char != "\n":
                following.add(state if atom == "*" else state + 1)
            elif not is_wild and char == atom:
                following.add(state + 1)
        states = _reached(atoms, following)
    return len(atoms) in states


def _reached(atoms: _Atoms, states: set[int]) -> set[int]:
    """Add the states that are reached without a character, since stars may be nothing."""
    found = set(states)
    for state in range(len(atoms)):
        if state in found and atoms[state] == ("*", True):
            found.add(state + 1)
    return found


def _remove(value: str, atoms: _Atoms, modifier: str) -> str:
    lengths = range(len(value) + 1)
    for length in reversed(lengths) if len(modifier) == 2 else lengths:
        cut = length if modifier[0] == "#" else len(value) - length
        piece, rest = (
            (value[:cut], value[cut:]) if modifier[0] == "#" else (value[cut:], value[:cut])
        )
        if _matches(atoms, piece):
            return rest
    return value


def _replace(value: str, atoms: _Atoms, new: str, *, every: bool) -> str:
    made = ""
    place = 0
    last_end = -1
    while place <= len(value):
        ends = [end for end in range(place, len(value) + 1) if _matches(atoms, value[place:end])]
        # An empty match where another match ended is none.
        if not ends or ends[-1] == place == last_end:
            made += value[place : place + 1]
            place += 1
            continue
        end = last_end = ends[-1]
        if not every:
            return made + new + value[end:]
        made += _fill_in(new, value[place:end])
        if end == place:
            made += value[place : place + 1]
            end += 1
        place = end
    return made


def _fill_in(new: str, match: str) -> str:
    """Where all matches are replaced, `$0` is the match, `$$` a dollar, other names nothing."""
    made = ""
    while "$" in new:
        before, _dollar, new = new.partition("$")
        made += before
        if new.startswith("$"):
            made += "$"
            new = new[1:]
            continue
        is_braced = new.startswith("{")
        end = start = int(is_braced)
        while (
            new[end : end + 1].isalpha()
            or new[end : end + 1].isdecimal()
            or new[end : end + 1] == "_"
        ):
            end += 1
        name = new[start:end]
        if not name or (is_braced and new[end : end + 1] != "}"):
            made += "$"
            continue
        made += match if name == "0" else ""
        new = new[end + is_braced :]
    return made + new
