"""Whole files of our own: each directory has a Dockerfile, and what it parses to or its error.

After a change that is meant, write the expected files anew with

    GOLDEN=write python -m pytest tests/unit/dockerfile/test_golden.py

and read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from polyarch.dockerfile.parser import Dockerfile, parse
from polyarch.dockerfile.syntax.lexer import decode
from polyarch.errors import DockerfileError
from polyarch.graph.location import SourceText

DIRECTORY = Path(__file__).parents[2] / "golden" / "parser"


def plain(value: object) -> object:
    """Turn values into JSON: records to objects that begin with their kind and lines."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    names = getattr(type(value), "__record_fields__", None)
    if names is None:
        return value
    result: dict[str, object] = {"kind": type(value).__name__}
    for name in names:
        item = getattr(value, name)
        if name == "location":
            result["lines"] = f"{item.start}-{item.end}"
        elif item not in {"", None, ()} and name != "source":
            result[name] = plain(item)
    return result


def parsed(path: Path) -> Dockerfile:
    return parse(SourceText(name="Dockerfile", text=decode(path.read_bytes())))


def check(path: Path, got: str) -> None:
    if os.environ.get("GOLDEN") == "write":
        path.write_text(got, encoding="utf-8")
    assert got == path.read_text(encoding="utf-8")


def directories(*, wrong: bool) -> list[Path]:
    names = {"corners", "scripts", "service", "windows"}
    return [path for path in sorted(DIRECTORY.iterdir()) if (path.name not in names) == wrong]


@pytest.mark.parametrize(
    "directory", directories(wrong=False), ids=lambda directory: str(directory.name)
)
def test_file_is_parsed(directory: Path) -> None:
    document = plain(parsed(directory / "Dockerfile"))

    check(directory / "parsed.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize(
    "directory", directories(wrong=True), ids=lambda directory: str(directory.name)
)
def test_file_is_refused(directory: Path) -> None:
    with pytest.raises(DockerfileError) as caught:
        parsed(directory / "Dockerfile")

    assert caught.value.place is not None
    check(directory / "error.txt", f"{caught.value.place.excerpt()}ERROR: {caught.value}\n")
