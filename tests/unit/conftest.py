"""For unit tests: an engine whose steps are made up, the same behind BuildKit's API, and a registry in the tests' process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.buildkit.build import Remote
from tests.support.fakes.engine import FakeEngine, fake_engine
from tests.support.network.buildkitserver import serving_buildkit
from tests.support.network.registry import Registry, serving


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
def remote(engine: FakeEngine, tmp_path: Path) -> Iterator[Remote]:
    with serving_buildkit(engine, tmp_path) as remote:
        yield remote


@pytest.fixture
def server() -> Iterator[Registry]:
    with serving() as registry:
        yield registry
