"""Requests of builds that use no network."""

from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.pipeline.offline import without_network
from polyarch.progress import Event, WarningEvent
from polyarch.record import replace
from polyarch.request.values import BuildRequest, CacheEntry, Output

OFFLINE = {"POLYARCH_OFFLINE": "1"}
REQUEST = BuildRequest(
    context=".",
    cache_from=(CacheEntry(type="registry"), CacheEntry(type="local")),
    cache_to=(CacheEntry(type="steps"), CacheEntry(type="inline"), CacheEntry(type="registry")),
)


def test_caches_elsewhere_are_left_out_and_told_of() -> None:
    events: list[Event] = []

    found = without_network(REQUEST, OFFLINE, events.append)

    assert [each.type for each in (*found.cache_from, *found.cache_to)] == ["local", "inline"]
    assert [each.short for each in events if isinstance(each, WarningEvent)] == [
        "caches of type=registry aren't used, as the build is offline",
        "caches of type=steps aren't used, as the build is offline",
    ]


@pytest.mark.parametrize("environ", [{}, {"POLYARCH_OFFLINE": "0"}, {"POLYARCH_OFFLINE": ""}])
def test_other_builds_stay_as_they_are(environ: dict[str, str]) -> None:
    events: list[Event] = []

    assert without_network(REQUEST, environ, events.append) is REQUEST
    assert events == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (replace(REQUEST, pull=True), "--pull asks registries, and --offline forbids it"),
        (replace(REQUEST, outputs=(Output(type="registry"),)), "nothing can be pushed"),
        (
            replace(REQUEST, outputs=(Output(type="image", attributes={"push": "true"}),)),
            "nothing can be pushed",
        ),
    ],
)
def test_what_asks_for_the_network_is_refused(request_: BuildRequest, message: str) -> None:
    with pytest.raises(InputError, match=message):
        without_network(request_, OFFLINE, lambda _: None)


def test_a_variable_that_is_neither() -> None:
    with pytest.raises(InputError, match="POLYARCH_OFFLINE=perhaps is neither true nor false"):
        without_network(REQUEST, {"POLYARCH_OFFLINE": "perhaps"}, lambda _: None)
