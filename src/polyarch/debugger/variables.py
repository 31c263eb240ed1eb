"""What an editor shows of a step: its arguments, and the files that it has, as variables that can be unfolded."""

from __future__ import annotations

import posixpath
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from polyarch.buildkit.files import unix_mode
from polyarch.buildkit.messages import Stat
from polyarch.debugger.hands import Files
from polyarch.debugger.node import Node, Program
from polyarch.errors import PolyarchError
from polyarch.platforms import Platform
from polyarch.threads import Once

__all__ = ["Variables", "scopes_of"]

_GO_BITS = "dalTLDpSugct?"
"""The letters of Go's modes, the highest bit first."""
_BRIEF = 64
_TASTE = 512
_LARGEST = 1 << 20
"""Bytes of a file that are shown."""

Variable = dict[str, object]
Unfold = Callable[[], list[Variable]]


class Variables:
    """What can be unfolded, by numbers; forgotten when the build goes on. To be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._known: dict[int, tuple[Unfold, Once[list[Variable]]]] = {}

    def add(self, unfold: Unfold) -> int:
        """Return the number by which something is unfolded."""
        with self._lock:
            self._number += 1
            self._known[self._number] = (unfold, Once())
            return self._number

    def get(self, number: int) -> list[Variable]:
        """Unfold what has a number; nothing if it's not known (any more)."""
        with self._lock:
            known = self._known.get(number)
        return known[1].get(known[0]) if known is not None else []

    def forget(self) -> None:
        """Forget all. Numbers aren't given again, since an editor may still ask for old ones."""
        with self._lock:
            self._known.clear()


def scopes_of(node: Node, files: Mapping[str, Files], known: Variables) -> list[dict[str, object]]:
    """Return the scopes of a step; `files` are the trees that it has, by what people know them by."""
    scopes: list[dict[str, object]] = [
        {
            "name": "Arguments",
            "presentationHint": "arguments",
            "variablesReference": known.add(lambda: _arguments(node, known)),
            "expensive": False,
        }
    ]
    if files:
        scopes.append({
            "name": "File Explorer",
            "presentationHint": "locals",
            "variablesReference": known.add(lambda: _trees(files, known)),
            "expensive": True,
        })  # fmt: skip
    return scopes


def _leaf(name: str, value: str) -> Variable:
    return {"name": name, "value": value, "variablesReference": 0}


def _branch(name: str, value: str, known: Variables, unfold: Unfold) -> Variable:
    return {"name": name, "value": value, "variablesReference": known.add(unfold)}


def _arguments(node: Node, known: Variables) -> list[Variable]:
    found = []
    if node.platform is not None:
        platform = node.platform
        shown = f"{platform.os}/{platform.architecture}"
        found.append(_branch("platform", shown, known, lambda: _platform(platform)))
    if node.program is not None:
        program = node.program
        shown = " ".join(program.argv)
        found.append(_branch("exec", shown, known, lambda: _program(program, known)))
    return found


def _platform(platform: Platform) -> list[Variable]:
    found = [_leaf("architecture", platform.architecture), _leaf("os", platform.os)]
    return [*found, *([_leaf("variant", platform.variant)] if platform.variant else [])]


def _program(program: Program, known: Variables) -> list[Variable]:
    argv = [_leaf(str(number), each) for number, each in enumerate(program.argv)]
    env = [_leaf(*each.split("=", 1)) for each in program.env if "=" in each]
    found = [
        _branch("args", _brief(program.argv), known, lambda: argv),
        _branch("env", _brief(program.env), known, lambda: env),
    ]
    more = {"workdir": program.cwd, "user": program.user}
    return [*found, *(_leaf(name, value) for name, value in more.items() if value)]


def _brief(words: Sequence[str]) -> str:
    text = " ".join(words)
    return f"{text[: _BRIEF - 4]} ..." if len(text) >= _BRIEF else text


# --- files ---


def _trees(files: Mapping[str, Files], known: Variables) -> list[Variable]:
    return [_tree(name, files[name], known) for name in sorted(files)]


def _tree(name: str, files: Files, known: Variables) -> Variable:
    return _branch(name, "", known, lambda: _directory(files, "/", known))


def _directory(files: Files, path: str, known: Variables) -> list[Variable]:
    try:
        return [_entry(files, path, each, known) for each in files.list(path)]
    except PolyarchError as error:
        return [_leaf("error", str(error))]


def _entry(files: Files, directory: str, entry: Stat, known: Variables) -> Variable:
    path = posixpath.join(directory, entry.path)
    kind = unix_mode(entry.mode)
    if stat.S_ISDIR(kind):

        def inside() -> list[Variable]:
            here = _branch(".", _shown(entry), known, lambda: _status(entry))
            return [here, *_directory(files, path, known)]

        return _branch(f"{entry.path}/", "", known, inside)

    def about() -> list[Variable]:
        return [*(_content(files, path) if stat.S_ISREG(kind) else []), *_status(entry)]

    return _branch(entry.path, _shown(entry), known, about)


def _content(files: Files, path: str) -> list[Variable]:
    try:
        data = files.read(path, 0, _TASTE)
        if _is_binary(data):
            return [_leaf("data", "binary data")]
        if len(data) == _TASTE:
            data += files.read(path, _TASTE, _LARGEST)
    except PolyarchError as error:
        return [_leaf("data", str(error))]
    return [_leaf("data", data.decode(errors="replace"))]


def _is_binary(data: bytes) -> bool:
    """Guess whether bytes are no text: a NUL is in them, or many are neither printed nor UTF-8."""
    if b"\0" in data:
        return True
    text = data.decode(errors="replace").rstrip("\ufffd")
    odd = sum((each < " " and each not in "\n\t") or each == "\ufffd" for each in text)
    return odd > 0.3 * len(text)


def _status(entry: Stat) -> list[Variable]:
    found = [_leaf("linkname", entry.link)] if entry.link else []
    return [
        *found,
        _leaf("mode", _mode(entry.mode)),
        _leaf("uid", str(entry.uid)),
        _leaf("gid", str(entry.gid)),
        _leaf("mtime", _time(entry.mtime)),
    ]


def _shown(entry: Stat) -> str:
    return f"{_mode(entry.mode)} {entry.uid}:{entry.gid} {_time(entry.mtime)}"


def _time(nanoseconds: int) -> str:
    moment = time.gmtime(nanoseconds // 10**9)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    clock = time.strftime("%H:%M:%S %Y", moment)
    return f"{months[moment.tm_mon - 1]} {moment.tm_mday} {clock}"


def _mode(mode: int) -> str:
    """Return a mode as Go prints it."""
    kinds = "".join(letter for n, letter in enumerate(_GO_BITS) if mode >> (31 - n) & 1)
    rights = "".join(letter if mode >> (8 - n) & 1 else "-" for n, letter in enumerate("rwxrwxrwx"))
    return (kinds or "-") + rights
