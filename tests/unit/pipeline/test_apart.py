"""Many builds that others carry out: their order, what fails of them, and what they are built on."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from polyarch.digest import sha256
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.oci.reference import parse
from polyarch.pipeline.apart import bake_apart, image_context, linked, pushed_name
from polyarch.pipeline.bake import ordered
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.request.baked import BakeResult
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output


def request(*bases: str) -> BuildRequest:
    return BuildRequest(context=".", build_contexts={each: f"target:{each}" for each in bases})


REQUESTS = {"app": request("base"), "tool": request(), "base": request(), "top": request("app")}


def bake(failing: Mapping[str, PolyarchError], **options: bool) -> tuple[BakeResult, list[str]]:
    """Bake REQUESTS; returns what came of it, and the builds in the order in which they began."""
    begun: list[str] = []
    lock = threading.Lock()

    def build(
        name: str, done: Mapping[str, BuildResult], sink: Sink, cancel: CancelToken
    ) -> BuildResult:
        with lock:
            begun.append(name)
        assert set(REQUESTS[name].build_contexts) <= done.keys()
        if name in failing:
            raise failing[name]
        return BuildResult(names=(name,))

    names = ordered(REQUESTS)
    found = bake_apart(
        names, REQUESTS, build, sink=lambda _name: ignore_events, cancel=CancelToken(), **options
    )
    return found, begun


def test_builds_begin_when_what_they_are_built_on_has_ended() -> None:
    found, begun = bake({})

    assert list(found.results) == ordered(REQUESTS)
    assert found.errors == {}
    assert begun.index("base") < begun.index("app") < begun.index("top")


def test_what_depends_on_a_failure_is_left_and_the_rest_goes_on_if_asked() -> None:
    found, begun = bake({"base": InputError("no")}, keeps_going=True)

    assert list(found.results) == ["tool"]
    assert list(found.errors) == ["base"]
    assert "app" not in begun
    assert "top" not in begun


def test_the_first_failure_ends_the_others() -> None:
    found, begun = bake({"base": InputError("no")})

    assert "base" in found.errors
    assert not {"app", "top"} & set(begun)


def test_who_cancels_is_told_so() -> None:
    cancel = CancelToken()

    def build(
        name: str, done: Mapping[str, BuildResult], sink: Sink, token: CancelToken
    ) -> BuildResult:
        cancel.cancel()
        token.check()
        raise AssertionError("it was cancelled")

    with pytest.raises(Cancelled):
        bake_apart(["tool"], REQUESTS, build, sink=lambda _name: ignore_events, cancel=cancel)


def test_targets_become_images_by_their_digests() -> None:
    digest = sha256(b"x")
    contexts = {"base": "target:base", "other": "docker-image://app"}

    found = linked(
        BuildRequest(context=".", build_contexts=contexts),
        lambda name: image_context(parse(f"example.test/{name}:1"), digest),
    )

    assert found.build_contexts == {
        "base": f"docker-image://example.test/base@{digest}",
        "other": "docker-image://app",
    }


@pytest.mark.parametrize(
    ("kind", "attributes", "name"),
    [
        ("registry", {"name": "a.test/x,b.test/y"}, "a.test/x"),
        ("image", {"name": "a.test/x", "push": "true"}, "a.test/x"),
        ("image", {"name": "a.test/x"}, ""),
        ("oci", {"name": "a.test/x"}, ""),
    ],
)
def test_what_is_pushed_has_a_name(kind: str, attributes: dict[str, str], name: str) -> None:
    outputs = (Output(type="cacheonly"), Output(type=kind, attributes=attributes))

    assert pushed_name(BuildRequest(context=".", outputs=outputs)) == name
