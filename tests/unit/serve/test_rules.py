"""Policies as documents: which rules match, what they make of a source, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from polyarch.buildkit.messages import pairs
from polyarch.errors import InputError
from polyarch.serve.rules import NO_RULES, read_rules
from polyarch.wire import field

ALLOW, DENY, CONVERT = range(3)
WILDCARD, EXACT, REGEX = range(3)
GO = "docker-image://docker.io/library/golang:1.24"


def rule(
    action: int,
    identifier: str,
    kind: int = WILDCARD,
    to: str | None = None,
    attributes: Mapping[str, str] | None = None,
    constraint: tuple[str, str, int] | None = None,
) -> bytes:
    selector = field(1, identifier) + field(2, kind)
    if constraint is not None:
        key, value, condition = constraint
        selector += field(3, field(1, key) + field(2, value) + field(3, condition))
    updates = b""
    if to is not None:
        updates = field(3, (field(1, to) + pairs(2, attributes or {})) or b"\x0a\x00")
    return field(2, field(1, action) + field(2, selector) + updates)


@pytest.mark.parametrize(
    ("rules", "name"),
    [
        ((rule(CONVERT, GO, EXACT, "docker-image://a"),), "docker-image://a"),
        ((rule(CONVERT, GO, to=f"{GO}-$$"),), f"{GO}-$"),
        (
            (rule(CONVERT, "docker-image://docker.io/library/golang:*", to="docker-image://m/go:${1}-a"),),
            "docker-image://m/go:1.24-a",
        ),
        ((rule(CONVERT, r"golang:(?P<tag>[0-9.]+)$", REGEX, "go:${tag}"),), "docker-image://docker.io/library/go:1.24"),
        ((rule(CONVERT, "docker-image://other", to="docker-image://a"),), GO),
        ((rule(DENY, "*"), rule(ALLOW, GO)), GO),
        ((rule(DENY, "golang"),), GO),
    ],
)  # fmt: skip
def test_what_becomes_of_a_source(rules: tuple[bytes, ...], name: str) -> None:
    assert read_rules([b"".join(rules)]).replaced(GO, {})[0] == name


def test_nothing_is_done_without_rules() -> None:
    assert NO_RULES.replaced(GO, {"a": "b"}) == (GO, {"a": "b"})


def test_attributes_are_asked_for_and_added() -> None:
    url = "https://x.test/f"
    wanted = rule(CONVERT, url, to="", attributes={"http.checksum": "sha256:00"})
    asked = rule(DENY, url, constraint=("http.uid", "0", 0))

    assert read_rules([wanted]).replaced(url, {}) == (url, {"http.checksum": "sha256:00"})
    with pytest.raises(InputError, match="denied by policy"):
        read_rules([asked]).replaced(url, {"http.uid": "0"})
    assert read_rules([asked]).replaced(url, {"http.uid": "1"})[0] == url


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (rule(ALLOW, GO) + rule(DENY, "*"), "denied by policy: source denied by policy"),
        (rule(CONVERT, GO), "missing destination for convert rule"),
        (rule(9000, GO), "unknown type"),
        (rule(ALLOW, "x**"), "invalid wildcard"),
        (rule(ALLOW, "x", 7), "unknown match type"),
        (rule(ALLOW, "(", REGEX), "invalid regex"),
        (rule(ALLOW, GO, constraint=("a", "b", 8)), "unknown attr condition"),
        (rule(CONVERT, "*golang*", to="${1}golang:x${2}"), "too many operations"),
    ],
)
def test_what_policies_refuse_and_what_is_none(rules: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_rules([rules]).replaced(GO, {})


def test_a_rule_is_for_something() -> None:
    with pytest.raises(InputError, match="invalid nil selector in policy"):
        read_rules([field(2, field(1, CONVERT))])
