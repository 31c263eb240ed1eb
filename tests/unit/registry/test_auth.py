from __future__ import annotations

import pytest

from polyarch.registry.auth import Challenge, merge_scopes, parse_challenges


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
