"""Names and values of variables that shouldn't be published."""

from __future__ import annotations

import pytest

from polyarch.text.secretname import is_secret_name, looks_secret, without_login


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PASSWORD", "x"),
        ("dbPassword", "x"),
        ("GITHUB_TOKEN", "x"),
        ("MY_APIKEY", "x"),
        ("AUTH", "x"),
        ("ANYTHING", "ghp_0123456789abcdefghij0123"),
        ("ANYTHING", "AKIAIOSFODNN7EXAMPLE"),
        ("ANYTHING", "-----BEGIN RSA PRIVATE KEY-----\n"),
        ("ANYTHING", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
    ],
)
def test_what_looks_secret(name: str, value: str) -> None:
    assert looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("VERSION", "1.2"), ("KEYBOARD", "de"), ("AUTHOR", "me"), ("COMMIT", "ab" * 20)],
)
def test_what_does_not(name: str, value: str) -> None:
    assert not looks_secret(name, value)


def test_the_check_is_buildkits_own() -> None:
    names = ("API_KEY", "KEY_FILE", "PUBLIC_KEY", "TOKENS", "secret")

    assert [is_secret_name(name) for name in names] == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pw@example.test/a.git#main", "https://xxxxx:xxxxx@example.test/a.git#main"),
        ("http://token@proxy.test:3128", "http://xxxxx@proxy.test:3128"),
        ("git@example.test:a/b.git", "git@example.test:a/b.git"),
        ("https://example.test/@scope", "https://example.test/@scope"),
    ],
)
def test_logins_in_addresses(text: str, expected: str) -> None:
    assert without_login(text) == expected
