"""Caches of single steps at daemons that don't know them."""

from __future__ import annotations

from polyarch.buildkit.caches import without_steps
from polyarch.errors import RemoteError
from polyarch.progress import Event, WarningEvent, ignore_events
from polyarch.record import replace
from polyarch.request.values import BuildRequest, CacheEntry

STEPS = CacheEntry(type="steps", attributes={"ref": "registry.example/cache"})
OTHER = CacheEntry(type="registry", attributes={"ref": "registry.example/cache"})


def test_caches_that_buildkit_has_not_are_left_out() -> None:
    request = replace(BuildRequest(context="."), cache_from=(STEPS, OTHER), cache_to=(OTHER, STEPS))
    events: list[Event] = []
    refused = RemoteError('unknown cache exporter: "steps"')

    possible = without_steps(request, refused, events.append)

    assert possible is not None
    assert (possible.cache_from, possible.cache_to) == ((OTHER,), (OTHER,))
    (told,) = [each.short for each in events if isinstance(each, WarningEvent)]
    assert told.startswith("caches of type=steps aren't used: this builder is BuildKit")


def test_other_errors_are_left_alone() -> None:
    request = BuildRequest(context=".")

    assert without_steps(request, RemoteError("no space left"), ignore_events) is None
