"""What docker buildx takes of the surroundings of a job on GitHub's runners, for `type=gha`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.golang.strconv import find_bool
from polyarch.record import replace
from polyarch.request.values import CacheEntry

__all__ = ["with_runner"]


def with_runner(
    entries: Iterable[CacheEntry], environ: Mapping[str, str]
) -> tuple[CacheEntry, ...]:
    """Return the entries with what the job's variables say of GitHub's cache.

    Without a token and an address there is no such job, and its caches are left out, as buildx does.
    """
    completed = (_completed(each, environ) if each.type == "gha" else each for each in entries)
    return tuple(each for each in completed if each.type != "gha" or _is_active(each))


def _completed(entry: CacheEntry, environ: Mapping[str, str]) -> CacheEntry:
    given = entry.attributes
    results = environ.get("ACTIONS_RESULTS_URL", "")
    is_new = find_bool(environ.get("ACTIONS_CACHE_SERVICE_V2", "")) is True
    found = {
        "token": environ.get("ACTIONS_RUNTIME_TOKEN", ""),
        "url": environ.get("ACTIONS_CACHE_URL", "") or results,
        "url_v2": results if is_new or given.get("version") == "2" else "",
    }
    added = {key: value for key, value in found.items() if value and not given.get(key)}
    return replace(entry, attributes={**given, **added})


def _is_active(entry: CacheEntry) -> bool:
    given = entry.attributes
    return bool(given.get("token")) and bool(given.get("url") or given.get("url_v2"))
