"""Which caches there are, and what BuildKit says of others."""

from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.request.caches import check_caches
from polyarch.request.values import CacheEntry

NO_BUCKET = (
    "failed to solve: failed to configure s3 cache exporter: "
    "bucket ($AWS_BUCKET) not set for s3 cache"
)
REGISTRY = "failed to solve: failed to configure registry cache exporter: "
NO_BOOL = 'strconv.ParseBool: parsing "maybe": invalid syntax'
NO_MANIFEST = (
    "invalid configuration for remote cache, OCI mediatypes are required for "
    "image-manifest cache format"
)


def entry(kind: str, **attributes: str) -> CacheEntry:
    return CacheEntry(type=kind, attributes=attributes)


@pytest.mark.parametrize(
    ("to", "of", "message"),
    [
        (entry("bogus"), None, 'failed to solve: unknown cache exporter: "bogus"'),
        (None, entry("bogus"), "failed to solve: unknown cache importer: bogus"),
        (None, entry("inline"), "failed to solve: unknown cache importer: inline"),
        (entry("registry"), None, "registry cache exporter requires ref"),
        (None, entry("registry"), "registry cache importer requires ref"),
        (entry("local", src="x"), None, "local cache exporter requires dest"),
        (entry("s3"), None, NO_BUCKET),
        (
            entry("registry", ref="a", **{"image-manifest": "maybe"}),
            None,
            f"{REGISTRY}failed to parse image-manifest: {NO_BOOL}",
        ),
        (
            entry("local", dest="a", **{"ignore-error": "maybe"}),
            None,
            f"{REGISTRY.replace('registry', 'local')}failed to parse ignore-error: {NO_BOOL}",
        ),
        (
            entry("registry", ref="a", compression="gzipp"),
            None,
            f"{REGISTRY}unsupported compression type gzipp (did you mean gzip?)",
        ),
        (
            entry("registry", ref="a", **{"cache-mounts": "all;go=much"}),
            None,
            f"{REGISTRY}cache-mounts=all;go=much: invalid size: 'much'",
        ),
        (
            None,
            entry("steps", ref="a", **{"cache-mounts": "go=much"}),
            "cache-mounts=go=much: invalid size: 'much'",
        ),
        (
            entry("registry", ref="a", **{"compression-level": "high"}),
            None,
            f'{REGISTRY}strconv.ParseInt: parsing "high": invalid syntax',
        ),
        (
            entry("registry", ref="a", **{"image-manifest": "true", "oci-mediatypes": "false"}),
            None,
            f"{REGISTRY}{NO_MANIFEST}",
        ),
    ],
)
def test_kinds_that_nobody_has(to: CacheEntry | None, of: CacheEntry | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_caches([of] if of else [], [to] if to else [])

    assert str(caught.value) == message


def test_all_that_there_are() -> None:
    kinds = (
        entry("gha"),
        entry("s3", bucket="b", region="r"),
        entry("azblob", account_url="https://a.example"),
        entry("registry", ref="a"),
        entry("steps", ref="a"),
    )
    check_caches(
        (*kinds, entry("local", src="x")), (*kinds, entry("local", dest="x"), entry("inline"))
    )
