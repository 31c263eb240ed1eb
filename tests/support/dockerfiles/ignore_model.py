r"""A second reading of ignore files, for comparing: slow, simple, and sharing nothing with the first.

A pattern is a list of atoms that are tried on a path in every way there is; which files of a context are
sent is computed with sets of paths, from the top directory down.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["files_sent", "is_ignored", "matches"]


def _clean(pattern: str) -> str:
    parts: list[str] = []
    is_rooted = pattern.startswith("/")
    for part in pattern.split("/"):
        if part == "..":
            if parts and parts[-1] != "..":
                del parts[-1]
            elif not is_rooted:
                parts.append(part)
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts) if is_rooted else "/".join(parts) or "."


def _rules(text: str) -> list[tuple[str, bool]]:
    """The patterns of an ignore file, and for each if it is an exception."""
    rules: list[tuple[str, bool]] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#") or not line.strip():
            continue
        pattern = line.strip()
        mark = "!" if pattern.startswith("!") else ""
        pattern = _clean(pattern.removeprefix("!").strip())
        pattern = mark + (pattern.removeprefix("/") or "/")
        # Read again as a whole: cleaning may have brought blanks to the end, or a mark to the front.
        pattern = _clean(pattern.strip())
        is_exception = pattern.startswith("!")
        rules.append((pattern.removeprefix("!"), is_exception))
    return rules


def matches(pattern: str, path: str) -> bool:
    """Tell if a pattern is the path."""
    if pattern.startswith("**") and not any(char in pattern[2:] for char in "*?[]\\"):
        # Two stars before plain text are "ends with", even in the middle of a name.
        tail = pattern[2:]
        return path.endswith(tail) or (tail.startswith("/") and path == tail[1:])
    return _matches(pattern, path)


def _matches(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern[2:].removeprefix("/")
        if not rest:
            return True
        below = [place + 1 for place, char in enumerate(path) if char == "/"]
        return any(_matches(rest, path[place:]) for place in (0, *below))
    if pattern[0] == "*":
        run = path.partition("/")[0]
        return any(_matches(pattern[1:], path[end:]) for end in range(len(run) + 1))
    size = _one_character(pattern, path[:1])
    return size > 0 and _matches(pattern[size:], path[1:])


def _one_character(pattern: str, char: str) -> int:
    """Return how much of the pattern stands for the character; 0 if it is another one."""
    size, is_match = 1, pattern[0] == char
    if pattern[0] == "[":
        inside = pattern[1:].partition("]")[0]
        size, is_match = len(inside) + 2, _in_class(inside, char)
    elif pattern[0] == "?":
        is_match = char != "/"
    elif pattern[0] == "\\":
        size, is_match = 2, pattern[1] == char
    return size if char and is_match else 0


def _in_class(inside: str, char: str) -> bool:
    """Classes of letters and of ranges of them; `^` in front means all others, slashes too."""
    is_negated = inside.startswith("^")
    members = inside[is_negated:]
    found = False
    while members:
        if members[1:2] == "-" and len(members) > 2:
            found = found or members[0] <= char <= members[2]
            members = members[3:]
        else:
            found = found or char == members[0]
            members = members[1:]
    return found != is_negated


def _with_directories(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def is_ignored(text: str, path: str) -> bool:
    """Tell what the last rule says that matches the path or a directory above it."""
    ignored = False
    for pattern, is_exception in _rules(text):
        if any(matches(pattern, each) for each in _with_directories(path)):
            ignored = not is_exception
    return ignored


def files_sent(text: str, files: Iterable[str]) -> list[str]:
    """Return the files that a walk over a context of these files sends, sorted.

    A rule that matched a directory matches all below; but a rule is only tried where it would change what
    those before it said. Nothing is sent from an ignored directory in which no exception may be.
    """
    rules = _rules(text)
    files = set(files)
    depth = {path: path.count("/") for file in files for path in _with_directories(file)}
    matched: list[set[str]] = [set() for _rule in rules]
    ignored: set[str] = set()
    closed: set[str] = set()
    for path in sorted(depth, key=lambda path: (depth[path], path)):
        directory = path.rpartition("/")[0]
        if directory in closed:
            closed.add(path)
            continue
        for number, (pattern, is_exception) in enumerate(rules):
            would_change = (path in ignored) == is_exception
            if directory in matched[number] or (would_change and matches(pattern, path)):
                matched[number].add(path)
                (ignored.discard if is_exception else ignored.add)(path)
        if path in ignored and not _may_have_exception(rules, path):
            closed.add(path)
    return sorted(files - ignored - closed)


def _may_have_exception(rules: list[tuple[str, bool]], directory: str) -> bool:
    plain = [
        pattern.removesuffix("/**").removesuffix("/*")
        for pattern, is_exception in rules
        if is_exception
    ]
    if any(char in pattern for pattern in plain for char in "*?[]^\\"):
        return True
    return any(f"{pattern}/".startswith(f"{directory}/") for pattern in plain)
