"""What BuildKit keeps of an error beside its message."""

from __future__ import annotations

import base64
import json

from polyarch.history.failure import explained, place_of
from polyarch.history.record import BuildError
from polyarch.wire import field

ERROR = BuildError(code=2, message="failed")


def detail(kind: str, value: object) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return field(3, field(1, f"github.com/moby/buildkit/{kind}") + field(2, data))


def test_the_step_and_its_place_are_found() -> None:
    text = base64.b64encode(b"FROM scratch\nCOPY a /\nRUN false\n").decode()
    source = {
        "info": {"filename": "Dockerfile", "data": text},
        "ranges": [{"start": {"line": 3}, "end": {"line": 3}}],
    }
    status = (
        field(1, 2)
        + field(2, "failed")
        + detail("stack.Stack+json", b"anything")
        + detail("errdefs.Source+json", source)
        + detail("errdefs.Vertex+json", {"digest": "sha256:ab"})
    )

    found = explained(ERROR, status)

    assert found.step == "sha256:ab"
    assert found.excerpt.splitlines()[:2] == ["Dockerfile:3", "-" * 20]
    assert "   3 | >>> RUN false" in found.excerpt
    place = place_of(status)
    assert place is not None
    assert (place.line, place.excerpt()) == (3, found.excerpt)


def test_what_cannot_be_read_tells_nothing() -> None:
    info = {"filename": "f", "data": "no base64!"}
    for status in (
        b"",
        b"\xff",
        detail("errdefs.Source+json", b"[]"),
        detail("errdefs.Source+json", {"info": info, "ranges": [{"start": {"line": 1}}]}),
        detail("errdefs.Source+json", {"info": {"filename": "f", "data": ""}}),
        detail("errdefs.Vertex+json", {"digest": 5}),
    ):
        assert explained(ERROR, status) == ERROR
        assert place_of(status) is None
