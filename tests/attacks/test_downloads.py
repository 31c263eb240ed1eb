"""What a web server's file is called: never something outside of the place that ADD names.

Names come from addresses, where a slash may be written as `%2f` (CVE-2014-9358, CVE-2020-10696).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.programs import Person
from tests.support.network.web import Page, WebServer, web_server

pytestmark = [pytest.mark.runtime, pytest.mark.root]


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def everything(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a%2fb", "b"),
        ("%2e%2e%2fb", "b"),
        ("..%2f..%2f..%2f..%2ftmp%2fb", "b"),
        ("%2f%2fetc%2fb", "b"),
        ("a/%2e%2e", "d"),
        ("%2e", "d"),
        ("%2e%2e/%2e%2e/%2e%2e", "__unnamed__"),
        ("a%00b", "__unnamed__"),
        ("..%5c..%5cb", "..\\..\\b"),
        ("-rf", "-rf"),
        (".wh.a", ".wh.a"),
    ],
)
def test_names_stay_in_their_place(root: Person, web: WebServer, path: str, name: str) -> None:
    web.pages[f"/d/{path}"] = Page(b"content")
    root.write("Dockerfile", f"FROM scratch\nADD {web.address}/d/{path} /in/\n")

    root.run("build", "-o", "out", ".").check()

    assert everything(root.work / "out") == {"in", f"in/{name}"}


def test_a_name_that_no_file_can_have(root: Person, web: WebServer) -> None:
    path = "/" + "n" * 300
    web.pages[path] = Page(b"content")
    root.write("Dockerfile", f"FROM scratch\nADD {web.address}{path} /in/\n")

    ended = root.run("build", "-o", "out", ".")

    assert ended.status not in {0, 70}
    assert "File name too long" in ended.complaint()
