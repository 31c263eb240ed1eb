"""A request of a build that uses no network: what contradicts that is refused, and what can do without is left out."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InputError
from polyarch.http.offline import is_offline
from polyarch.progress import Sink, step
from polyarch.record import replace
from polyarch.request.caches import CacheKind
from polyarch.request.outputs import is_pushed
from polyarch.request.values import BuildRequest, CacheEntry

__all__ = ["without_network"]

_NEAR = frozenset({CacheKind.INLINE, CacheKind.LOCAL})
"""Caches that are on this machine, or in the image."""


def without_network(request: BuildRequest, environ: Mapping[str, str], sink: Sink) -> BuildRequest:
    """Return the request as it can be carried out, which is as it is unless the build is offline.

    Caches elsewhere are left out, and told of. Raises InputError for what asks for the network.
    """
    if not is_offline(environ):
        return request
    if request.pull:
        raise InputError(
            "--pull asks registries, and --offline forbids it", hint="leave out one of them"
        )
    if any(map(is_pushed, request.outputs)):
        raise InputError(
            "nothing can be pushed by a build that is offline",
            hint="keep the image here with -t, and push it later: polyarch push NAME",
        )
    left_out = [each for each in (*request.cache_from, *request.cache_to) if not _is_near(each)]
    if not left_out:
        return request
    with step(sink, "[internal] caches") as shown:
        for kind in dict.fromkeys(each.type for each in left_out):
            shown.warn(f"caches of type={kind} aren't used, as the build is offline")
    return replace(
        request,
        cache_from=tuple(filter(_is_near, request.cache_from)),
        cache_to=tuple(filter(_is_near, request.cache_to)),
    )


def _is_near(entry: CacheEntry) -> bool:
    return entry.type in _NEAR
