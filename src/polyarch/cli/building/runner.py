"""What caches take of a job's surroundings: of GitHub's runners, and of what clouds' programs are told by variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.golang.strconv import find_bool
from polyarch.record import replace
from polyarch.request.caches import CacheKind
from polyarch.request.values import CacheEntry

__all__ = ["with_runner"]


def with_runner(
    entries: Iterable[CacheEntry], environ: Mapping[str, str]
) -> tuple[CacheEntry, ...]:
    """Return the entries with what the job's variables say of them.

    Without a token and an address there is no job of GitHub's, and its caches are left out, as buildx does.
    """
    completed = (_completed(each, environ) for each in entries)
    return tuple(each for each in completed if each.type != CacheKind.GHA or _is_active(each))


_VARIABLES: Mapping[str, Mapping[str, str]] = {
    CacheKind.S3: {"bucket": "AWS_BUCKET", "region": "AWS_REGION"},
    CacheKind.AZBLOB: {
        "account_url": "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
        "account_name": "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME",
        "container": "BUILDKIT_AZURE_STORAGE_CONTAINER",
        "prefix": "BUILDKIT_AZURE_STORAGE_PREFIX",
    },
}


def _completed(entry: CacheEntry, environ: Mapping[str, str]) -> CacheEntry:
    if entry.type == CacheKind.GHA:
        return _of_runner(entry, environ)
    named = _VARIABLES.get(entry.type, {})
    found = {key: environ[name] for key, name in named.items() if environ.get(name)}
    return replace(entry, attributes={**found, **entry.attributes}) if found else entry


def _of_runner(entry: CacheEntry, environ: Mapping[str, str]) -> CacheEntry:
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
