"""By what builds are told apart that say why their steps ran."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from polyarch.engine.explain import Explain, Explaining, Seen
from polyarch.errors import StoreError
from polyarch.graph.graph import Graph
from polyarch.progress import ignore_events
from polyarch.request.explanation import Explanation
from polyarch.request.values import BuildRequest
from polyarch.store.store import Store
from polyarch.why.history import place_of


def test_a_directory_is_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert place_of(".") == place_of("link") == str(tmp_path.resolve())


@pytest.mark.parametrize("value", ["", "-", "https://host/app.git#main"])
def test_other_places_are_what_they_are_called(value: str) -> None:
    assert place_of(value) == value


def test_an_address_loses_its_login() -> None:
    assert place_of("https://me:hidden@host/app.git") == "https://host/app.git"


def test_a_store_that_takes_no_reasons_fails_no_build() -> None:
    def refuse(*_values: object) -> None:
        raise StoreError("no space left on the device")

    store = cast("Store", SimpleNamespace(database=SimpleNamespace(ensure=refuse)))
    nothing = cast("Any", SimpleNamespace(seen={}))
    seen = Seen(graph=Graph(targets=()), store=store, worker=nothing, sink=ignore_events)
    told: list[tuple[Explanation, ...]] = []
    explaining = Explaining(Explain(tell=told.append), BuildRequest(context="."), seen)

    explaining.ended([])

    assert (told, explaining.solved()) == ([()], ())
