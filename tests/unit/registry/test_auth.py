from __future__ import annotations

from collections.abc import Mapping

import pytest

from polyarch.errors import RegistryError
from polyarch.http.origin import basic
from polyarch.registry.auth import Authorizer, Challenge, merge_scopes, parse_challenges
from polyarch.registry.credentials import Credential

OLD, NEW = (
    Credential(user="me", password="old-secret"),
    Credential(user="me", password="new-secret"),
)
BASIC = [Challenge(scheme="basic")]
BEARER = [Challenge(scheme="bearer", parameters={"realm": "https://auth.example/token"})]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            ['Bearer realm="https://a/token",service="s, t",scope="repository:x:pull,push"'],
            [
                Challenge(
                    scheme="bearer",
                    parameters={
                        "realm": "https://a/token",
                        "service": "s, t",
                        "scope": "repository:x:pull,push",
                    },
                )
            ],
        ),
        (
            ['Basic realm="a \\"b\\""', "BEARER Realm=x"],
            [
                Challenge(scheme="bearer", parameters={"realm": "x"}),
                Challenge(scheme="basic", parameters={"realm": 'a "b"'}),
            ],
        ),
        (
            ['Basic realm="a", Bearer realm="b"'],
            [
                Challenge(scheme="bearer", parameters={"realm": "b"}),
                Challenge(scheme="basic", parameters={"realm": "a"}),
            ],
        ),
        (["Negotiate"], [Challenge(scheme="negotiate")]),
        ([""], []),
    ],
)
def test_challenges(headers: list[str], expected: list[Challenge]) -> None:
    assert parse_challenges(headers) == tuple(expected)


def test_scopes_of_a_resource_are_one() -> None:
    scopes = ["repository:b:pull", "repository:a:push,pull", "repository:b:push"]

    assert merge_scopes(scopes) == ("repository:a:pull,push", "repository:b:pull,push")


def authorizer(later: Credential) -> Authorizer:
    """Of somebody who is OLD until asked again, at an authority that knows NEW only."""

    def fetch(
        _method: str, _url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        is_known = b"new-secret" in body or headers.get("Authorization") == basic("me:new-secret")
        return (200, b'{"token": "letter"}') if is_known else (401, b"")

    return Authorizer("registry.example", lambda again: later if again else OLD, fetch)


def test_a_password_that_expired_is_asked_for_again() -> None:
    known = authorizer(NEW)

    old = known.answer(BASIC, (), "")
    new = known.answer(BASIC, (), old)

    assert (old, new) == (basic("me:old-secret"), basic("me:new-secret"))
    assert known.header(()) == new
    assert authorizer(NEW).answer(BEARER, (), "") == "Bearer letter"


def test_the_same_password_is_not_sent_twice() -> None:
    known = authorizer(OLD)

    assert known.answer(BASIC, (), known.answer(BASIC, (), "")) == ""
    with pytest.raises(RegistryError, match="failed to authorize"):
        authorizer(OLD).answer(BEARER, (), "")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, b'{"errors": []}'),
        (401, b""),
        (403, b"<html>forgery</html>"),
        (404, b""),
        (405, b""),
        (415, b""),
        (200, b"<html>welcome</html>"),
        (200, b"{}"),
    ],
)
def test_an_authority_that_knows_the_older_form_only(status: int, said: bytes) -> None:
    def fetch(
        method: str, _url: str, headers: Mapping[str, str], _body: bytes
    ) -> tuple[int, bytes]:
        if method == "POST":
            return status, said
        is_known = headers.get("Authorization") == basic("me:new-secret")
        return (200, b'{"access_token": "letter"}') if is_known else (401, b"")

    known = Authorizer("registry.example", lambda _again: NEW, fetch)

    assert known.answer(BEARER, (), "") == "Bearer letter"
    assert known.header(()) == "Bearer letter"
