"""Which caches there are, and what each can't do without; in BuildKit's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, parse_bool, parse_int
from polyarch.golang.units import ram_in_bytes
from polyarch.request.values import CacheEntry
from polyarch.text.nearest import hint_for, suggestion

__all__ = [
    "CACHES",
    "OBJECTS",
    "CacheKind",
    "check_caches",
    "check_objects",
    "is_manifest",
    "is_oci",
    "read_mounts",
]


class CacheKind(StrEnum):
    """What kind of place a cache is, as `type=` has it."""

    REGISTRY = "registry"
    LOCAL = "local"
    GHA = "gha"
    S3 = "s3"
    AZBLOB = "azblob"
    INLINE = "inline"
    """Written with an image, and read as `registry`."""
    STEPS = "steps"
    """Its records are read and written one by one, while the build goes on."""


OBJECTS = frozenset({CacheKind.S3, CacheKind.AZBLOB})
"""The types of caches in stores of objects."""
CACHES = frozenset({CacheKind.REGISTRY, CacheKind.LOCAL, CacheKind.GHA}) | OBJECTS
"""The types that are read and written as a whole."""
_IMPORTERS = CACHES | {CacheKind.STEPS}
_EXPORTERS = _IMPORTERS | {CacheKind.INLINE}
# What the client of BuildKit itself can't do without, by type.
_NEEDED_BY_IMPORTERS: Mapping[str, str] = {
    CacheKind.STEPS: "ref",
    CacheKind.REGISTRY: "ref",
    CacheKind.LOCAL: "src",
}
_NEEDED_BY_EXPORTERS: Mapping[str, str] = {
    CacheKind.STEPS: "ref",
    CacheKind.REGISTRY: "ref",
    CacheKind.LOCAL: "dest",
}


def check_caches(cache_from: Iterable[CacheEntry], cache_to: Iterable[CacheEntry]) -> None:
    """Raise InputError for kinds that don't exist, and for what lacks something."""
    for entry in cache_to:
        if entry.type not in _EXPORTERS:
            raise InputError(
                f'failed to solve: unknown cache exporter: "{entry.type}"',
                hint=hint_for(entry.type, _EXPORTERS),
            )
        _check_needed(entry, "exporter", _NEEDED_BY_EXPORTERS)
        try:
            check_objects(entry)
            _check_values(entry)
            read_mounts(entry)
        except InputError as error:
            raise InputError(
                f"failed to solve: failed to configure {entry.type} cache exporter: {error}",
                hint=error.hint,
            ) from error
    for entry in cache_from:
        # BuildKit tells this in a step that fails, and goes on; but who misspells a kind wants to know.
        if entry.type not in _IMPORTERS:
            raise InputError(
                f"failed to solve: unknown cache importer: {entry.type}",
                hint=hint_for(entry.type, _IMPORTERS),
            )
        _check_needed(entry, "importer", _NEEDED_BY_IMPORTERS)
        read_mounts(entry)


_MOUNTS = "cache-mounts"
_USUAL_LIMIT = 2 << 30


def read_mounts(entry: CacheEntry, usual: str = "") -> dict[str, int]:
    """Return the cache mounts that go along with a cache: the bytes that each may have, by its id or `all`.

    They are written `ID[=SIZE]`, several with `;` or `,` between. `usual` is what is meant where nothing is said.
    Raises InputError.
    """
    text = entry.attributes.get(_MOUNTS, usual)
    found: dict[str, int] = {}
    for each in filter(None, text.replace(";", ",").split(",")):
        name, equals, size = each.partition("=")
        try:
            found[name.strip().lstrip("/")] = ram_in_bytes(size) if equals else _USUAL_LIMIT
        except InputError as error:
            raise InputError(
                f"{_MOUNTS}={text}: {error}",
                hint="write ids of cache mounts, or all, each with a size if need be: all=500mb",
            ) from error
    return found


# What a store of objects can't do without, by type, with what is said of it.
_NEEDED_BY_OBJECTS: Mapping[str, Mapping[str, str]] = {
    CacheKind.S3: {
        "bucket": "bucket ($AWS_BUCKET) not set for s3 cache",
        "region": "region ($AWS_REGION) not set for s3 cache",
    },
    CacheKind.AZBLOB: {
        "account_url": "either ${BUILDKIT_AZURE_STORAGE_ACCOUNT_URL} or account_url attribute is required "
        "for azblob cache"
    },
}


def check_objects(entry: CacheEntry) -> None:
    """Raise InputError for a store of objects that nobody could find."""
    for key, reason in _NEEDED_BY_OBJECTS.get(entry.type, {}).items():
        if not entry.attributes.get(key):
            raise InputError(reason)


_BOOLS = ("ignore-error", "image-manifest", "oci-mediatypes", "registry.insecure")
_COMPRESSIONS = ("estargz", "gzip", "uncompressed", "zstd")


def _check_values(entry: CacheEntry) -> None:
    """Raise InputError for what an attribute can't be, before a build has run for it."""
    for name in _BOOLS:
        if name in entry.attributes:
            try:
                parse_bool(entry.attributes[name])
            except InputError as error:
                raise InputError(f"failed to parse {name}: {error}") from error
    kind = entry.attributes.get("compression", "")
    if kind and kind not in _COMPRESSIONS:
        raise InputError(f"unsupported compression type {kind}{suggestion(kind, _COMPRESSIONS)}")
    if level := entry.attributes.get("compression-level", ""):
        parse_int(level)
    if not is_oci(entry) and find_bool(entry.attributes.get("image-manifest", "")) is True:
        raise InputError(
            "invalid configuration for remote cache, OCI mediatypes are required for image-manifest cache format",
            hint="leave one of image-manifest and oci-mediatypes out",
        )


def is_oci(entry: CacheEntry) -> bool:
    """Tell whether a cache is written with OCI's media types, as it is unless it's told otherwise."""
    return find_bool(entry.attributes.get("oci-mediatypes", "true")) is not False


def is_manifest(entry: CacheEntry) -> bool:
    """Tell whether a cache is written as a manifest, and not as an index: Docker's media types have that only."""
    wanted = find_bool(entry.attributes.get("image-manifest", ""))
    return is_oci(entry) if wanted is None else wanted


def _check_needed(entry: CacheEntry, role: str, needed: Mapping[str, str]) -> None:
    key = needed.get(entry.type)
    if key is not None and not entry.attributes.get(key):
        raise InputError(
            f"{entry.type} cache {role} requires {key}",
            hint=f"for instance type={entry.type},{key}=…",
        )
