"""For tests of images: results that are to become some, and a store beside theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.store.store import Store
from tests.support.images.exports import Results


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    made = Results(tmp_path / "here")
    yield made
    made.store.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "there") as store:
        yield store
