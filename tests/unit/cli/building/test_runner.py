"""The surroundings of a job on GitHub's runners."""

from __future__ import annotations

import pytest

from polyarch.cli.building.runner import with_runner
from polyarch.request.values import CacheEntry

TOKEN = {"ACTIONS_RUNTIME_TOKEN": "secret"}
NEW = {"ACTIONS_RESULTS_URL": "https://results/", "ACTIONS_CACHE_SERVICE_V2": "true"}
OLD = {"ACTIONS_CACHE_URL": "https://cache/"}


@pytest.mark.parametrize(
    ("given", "environ", "wanted"),
    [
        ({}, {}, None),
        ({}, TOKEN, None),
        ({"token": "own"}, {}, None),
        ({}, NEW, None),
        ({}, TOKEN | NEW, {"url": "https://results/", "url_v2": "https://results/"}),
        ({}, TOKEN | OLD, {"url": "https://cache/"}),
        ({"url_v2": "https://own/"}, TOKEN | OLD, {"url": "https://cache/"}),
        ({"token": "own", "url_v2": "https://own/"}, {}, {}),
    ],
)
def test_the_cache_of_github_is_for_its_runners(
    given: dict[str, str], environ: dict[str, str], wanted: dict[str, str] | None
) -> None:
    entry = CacheEntry(type="gha", attributes=given)

    found = with_runner([entry], environ)

    if wanted is None:
        assert found == ()
    else:
        (one,) = found
        assert one.attributes == {"token": "secret", **wanted, **given}
        assert "secret" not in repr(one)


def test_other_caches_stay_as_they_are() -> None:
    entry = CacheEntry(type="registry", attributes={"ref": "a"})

    assert with_runner([entry], TOKEN | NEW) == (entry,)


@pytest.mark.parametrize(
    ("kind", "given", "environ", "wanted"),
    [
        ("s3", {}, {"AWS_BUCKET": "b", "AWS_REGION": "r"}, {"bucket": "b", "region": "r"}),
        ("s3", {"bucket": "own"}, {"AWS_BUCKET": "b"}, {"bucket": "own"}),
        ("azblob", {}, {"BUILDKIT_AZURE_STORAGE_ACCOUNT_URL": "u"}, {"account_url": "u"}),
        ("registry", {"ref": "x"}, {"AWS_BUCKET": "b"}, {"ref": "x"}),
    ],
)
def test_variables_say_what_a_cloud_has(
    kind: str, given: dict[str, str], environ: dict[str, str], wanted: dict[str, str]
) -> None:
    (found,) = with_runner([CacheEntry(type=kind, attributes=given)], environ)

    assert found.attributes == wanted
