"""What editors show of files and programs."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import ClassVar

import pytest

from polyarch.buildkit.files import go_mode
from polyarch.buildkit.messages import Stat
from polyarch.debugger.node import Node, Program
from polyarch.debugger.variables import Variables, scopes_of
from polyarch.errors import NotFound
from polyarch.platforms import Platform

TIME = 1_700_000_000 * 10**9


class Files:
    """A tree with a directory, a link, and files."""

    contents: ClassVar[dict[str, bytes]] = {
        "/text": b"hello\n" * 200,
        "/odd": b"\x7fELF\0",
        "/empty": b"",
    }

    def list(self, path: str) -> Sequence[Stat]:
        if path != "/":
            raise NotFound(f"open {path}: no such file or directory")
        modes = {
            "bin": stat.S_IFDIR | 0o755,
            "link": stat.S_IFLNK | 0o777,
            "su": stat.S_IFREG | 0o4755,
        }
        files = {name[1:]: stat.S_IFREG | 0o640 for name in self.contents}
        return [
            Stat(
                path=name,
                mode=go_mode(mode),
                uid=7,
                mtime=TIME,
                link="bin" if name == "link" else "",
            )
            for name, mode in {**modes, **files}.items()
        ]

    def read(self, path: str, offset: int, size: int) -> bytes:
        if path not in self.contents:
            raise NotFound(f"open {path}: no such file or directory")
        return self.contents[path][offset : offset + size]


def unfold(known: Variables, number: object, *names: str) -> dict[str, str]:
    assert isinstance(number, int)
    found = known.get(number)
    for name in names:
        return unfold(
            known, next(e["variablesReference"] for e in found if e["name"] == name), *names[1:]
        )
    return {str(each["name"]): str(each["value"]) for each in found}


def explorer() -> tuple[Variables, object]:
    known = Variables()
    scopes = scopes_of(Node(key="k", name="n"), {"/": Files()}, known)
    return known, scopes[1]["variablesReference"]


def test_a_program_is_shown_with_all_that_it_has() -> None:
    program = Program(argv=("sh", "-c", "x" * 80), env=("A=1=2", "odd"), cwd="/w", user="me")
    platform = Platform(os="linux", architecture="arm", variant="v7")
    node = Node(key="k", name="n", platform=platform, program=program)
    known = Variables()

    scopes = scopes_of(node, {}, known)
    number = scopes[0]["variablesReference"]

    assert [each["name"] for each in scopes] == ["Arguments"]
    assert unfold(known, number)["platform"] == "linux/arm"
    assert unfold(known, number, "platform") == {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7",
    }
    shown = unfold(known, number, "exec")
    assert shown == {
        "args": f"sh -c {'x' * 54} ...",
        "env": "A=1=2 odd",
        "workdir": "/w",
        "user": "me",
    }
    assert unfold(known, number, "exec", "args")["2"] == "x" * 80
    assert unfold(known, number, "exec", "env") == {"A": "1=2"}


def test_files_are_shown_with_their_modes_and_contents() -> None:
    known, number = explorer()

    shown = unfold(known, number, "/")

    assert shown["bin/"] == ""
    assert shown["link"] == "Lrwxrwxrwx 7:0 Nov 14 22:13:20 2023"
    assert shown["su"] == "urwxr-xr-x 7:0 Nov 14 22:13:20 2023"
    assert unfold(known, number, "/", "text")["data"] == "hello\n" * 200
    assert unfold(known, number, "/", "odd")["data"] == "binary data"
    assert unfold(known, number, "/", "empty")["data"] == ""
    assert unfold(known, number, "/", "link")["linkname"] == "bin"


@pytest.mark.parametrize(("names", "key"), [(("/", "bin/"), "error"), (("/", "su"), "data")])
def test_what_cant_be_read_says_why(names: tuple[str, ...], key: str) -> None:
    known, number = explorer()

    assert unfold(known, number, *names)[key].endswith(": no such file or directory")


def test_what_was_forgotten_is_empty_and_its_number_isnt_given_again() -> None:
    known, number = explorer()
    known.forget()

    assert unfold(known, number) == {}
    assert known.add(list) != number
