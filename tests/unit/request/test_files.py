"""Contexts of files: names that stay inside, and what can't be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.library.written import written_contexts
from polyarch.request.files import Files
from polyarch.request.make import make_request
from polyarch.request.values import ContextFile


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../x", "a/../../x", "a\0b"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^a build context can't hold a file "):
        make_request({name: b""})


def test_a_request_holds_files_as_values() -> None:
    files: Files = {"./a//b": b"content", "c": Path("/there")}
    request = make_request(files, build_contexts={"x": "directory", "y": {"d": b"two"}})

    assert request.context == ""
    assert request.build_contexts == {"x": "directory"}
    assert request.context_files == {
        "": (ContextFile(name="a/b", data=b"content"), ContextFile(name="c", path="/there")),
        "y": (ContextFile(name="d", data=b"two"),),
    }
    assert "content" not in repr(request)


def test_directories_last_as_long_as_the_block() -> None:
    request = make_request({"a": b"one"}, build_contexts={"x": "directory", "y": {"d": b"two"}})

    with written_contexts(request) as written:
        directories = [Path(written.context), Path(written.build_contexts["y"])]
        found = [(directories[0] / "a").read_bytes(), (directories[1] / "d").read_bytes()]
        assert (found, written.build_contexts["x"]) == ([b"one", b"two"], "directory")

    assert [directory.exists() for directory in directories] == [False, False]


@pytest.mark.parametrize(
    "files", [{"a": b"", "a/b": b""}, {"a": Path("/nonexistent")}, {"a": Path("/")}]
)
def test_what_can_not_be_written(files: Files) -> None:
    with (
        pytest.raises(InputError, match=r"^can't put a(/b)? into a build context: "),
        written_contexts(make_request(files)),
    ):
        pass


def test_the_requests_own_field_is_no_keyword() -> None:
    with pytest.raises(TypeError, match="a build has no option context_files"):
        make_request(".", context_files={})  # type: ignore[call-arg]
