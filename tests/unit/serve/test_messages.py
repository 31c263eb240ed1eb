"""What is read of the messages of clients, old ones as well."""

from __future__ import annotations

import pytest

from polyarch.buildkit.messages import SolveOptions, pairs, solve_request
from polyarch.errors import IntegrityError
from polyarch.request.values import CacheEntry
from polyarch.serve.messages import (
    Exported,
    SolveRequest,
    cache_imports,
    read_input_metadata,
    read_solve_request,
)
from polyarch.wire import field


def test_what_our_own_client_asks_for() -> None:
    options = SolveOptions(
        ref="r",
        session="s",
        attributes={"target": "t"},
        exporters=(("image", {"push": "true"}), ("local", {})),
        cache_to=(("inline", {}),),
        cache_from=(("registry", {"ref": "x"}),),
        entitlements=("network.host",),
    )

    assert read_solve_request(solve_request(options)) == SolveRequest(
        ref="r",
        session="s",
        frontend="dockerfile.v0",
        attributes={"target": "t"},
        exporters=(
            Exported(type="image", attributes={"push": "true"}),
            Exported(type="local", attributes={}),
        ),
        cache_to=(CacheEntry(type="inline", attributes={}),),
        cache_from=(CacheEntry(type="registry", attributes={"ref": "x"}),),
        entitlements=("network.host",),
    )


def test_what_clients_before_0_13_say() -> None:
    cache = field(1, "to") + field(2, "from") + pairs(3, {"mode": "max"})
    data = field(1, "r") + field(3, "local") + pairs(4, {"a": "b"}) + field(8, cache)

    found = read_solve_request(data)

    assert found.exporters == (Exported(type="local", attributes={"a": "b"}),)
    assert found.cache_to == (CacheEntry(type="registry", attributes={"mode": "max", "ref": "to"}),)
    assert found.cache_from == (CacheEntry(type="registry", attributes={"ref": "from"}),)


def test_what_else_a_request_has() -> None:
    data = b"".join(
        (
            field(2, b"\x0a\x01x"),
            field(10, field(1, "name") + field(2, b"def")),
            field(11, 1),
            field(12, b"policy"),
            field(15, "policies"),
        )
    )

    found = read_solve_request(data)

    assert (found.definition, found.inputs) == (b"\x0a\x01x", {"name": b"def"})
    assert (found.is_internal, found.policies) == (True, (b"policy",))
    assert found.policy_session == "policies"


def test_caches_that_frontends_are_told_of() -> None:
    attributes = {
        "cache-imports": '[{"Type": "gha", "Attrs": {"scope": "s"}}, {"Type": "inline"}]',
        "cache-from": "a,b",
    }

    assert [(each.type, dict(each.attributes)) for each in cache_imports(attributes)] == [
        ("gha", {"scope": "s"}),
        ("inline", {}),
        ("registry", {"ref": "a"}),
        ("registry", {"ref": "b"}),
    ]
    with pytest.raises(IntegrityError):
        cache_imports({"cache-imports": "{}"})


def test_what_is_told_of_a_context_that_is_a_result() -> None:
    assert read_input_metadata("") == {}
    assert read_input_metadata('{"containerimage.config": "e30="}') == {
        "containerimage.config": b"{}"
    }
    with pytest.raises(IntegrityError, match="no base64"):
        read_input_metadata('{"x": "e30"}')


def test_an_empty_definition_is_one() -> None:
    # Of an empty tree there is nothing to be said; without any definition a program of the client's decides.
    assert read_solve_request(field(1, "ref") + bytes((2 << 3 | 2, 0))).has_definition
    assert not read_solve_request(field(1, "ref")).has_definition
