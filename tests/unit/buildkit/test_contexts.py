"""What a daemon is told of contexts that are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.buildkit.contexts import Contexts
from polyarch.request.make import make_request

ADDRESS = "https://host/it.git?ref=main"
PLAIN = "https://host/it.git#main"
QUERY, NAMED = "moby.buildkit.frontend.gitquerystring", "moby.buildkit.frontend.contexts+forward"


@pytest.mark.parametrize(
    ("has_queries", "told"),
    [
        (True, {"frontend.caps": f"{NAMED},{QUERY},{QUERY}+forward"}),
        (False, {"context": PLAIN, "context:other": PLAIN, "frontend.caps": NAMED}),
    ],
)
def test_queries_are_sent_or_said_otherwise(
    tmp_path: Path, *, has_queries: bool, told: Mapping[str, str]
) -> None:
    request = make_request(ADDRESS, build_contexts={"other": ADDRESS})

    found = Contexts(request, tmp_path, has_queries=has_queries).attributes()

    assert found == {"filename": "Dockerfile", **told}
