"""Results that several promises of a build begin with."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.serve.layouts import Layouts


class Maker:
    """Makes directories, and knows how many."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: list[Path] = []
        self.gone: list[Path] = []

    def directory(self) -> Path:
        return self.root / str(len(self.made))

    def make(self, path: Path) -> str:
        self.made.append(path)
        return f"at {path.name}"

    def of(self, layouts: Layouts, ref: str) -> str:
        return layouts.once(ref, self.directory, self.make, self.gone.append)


def test_each_is_made_once_and_goes_at_the_end(tmp_path: Path) -> None:
    layouts, maker = Layouts(), Maker(tmp_path)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(maker.of(layouts, "a"))) for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert found == ["at 0"] * 8
    assert maker.of(layouts, "b") == "at 1"
    assert maker.gone == []
    layouts.clear()
    assert sorted(maker.gone) == maker.made


def test_one_that_could_not_be_made_is_tried_again(tmp_path: Path) -> None:
    layouts, maker = Layouts(), Maker(tmp_path)

    def fail(_path: Path) -> str:
        raise InputError("not yet")

    with pytest.raises(InputError, match="not yet"):
        layouts.once("a", maker.directory, fail, maker.gone.append)

    assert maker.of(layouts, "a") == "at 0"
