from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.library.surroundings import settle
from polyarch.request.values import BuildRequest, Output, Secret


def test_paths_become_absolute() -> None:
    request = BuildRequest(
        context="app",
        dockerfile="sub/Dockerfile",
        build_contexts={"a": "other", "b": "docker-image://alpine", "c": "/abs"},
        outputs=(Output(type="local", destination="out"), Output(type="image")),
        secrets=(Secret(id="s", path="secret"),),
        ssh={"default": "agent.sock"},
    )

    assert settle(request, "/here", {}) == BuildRequest(
        context="/here/app",
        dockerfile="/here/sub/Dockerfile",
        build_contexts={"a": "/here/other", "b": "docker-image://alpine", "c": "/abs"},
        outputs=(Output(type="local", destination="/here/out"), Output(type="image")),
        secrets=(Secret(id="s", path="/here/secret"),),
        ssh={"default": "/here/agent.sock"},
    )


@pytest.mark.parametrize("context", ["-", "https://example.com/x.git", "git@example.com:x", "/x"])
def test_what_is_no_relative_path_stays(context: str) -> None:
    request = BuildRequest(context=context, dockerfile="-", stdin=b"FROM scratch")

    assert settle(request, "/here", {}) == request


def test_variables_are_read_at_the_caller() -> None:
    request = BuildRequest(
        context="/x",
        secrets=(Secret(id="a", env="A"), Secret(id="b", env="B"), Secret(id="c", value=b"c")),
    )

    settled = settle(request, "/here", {"A": "\udcff"})

    assert [each.value for each in settled.secrets] == [b"\xff", None, b"c"]
    assert "udcff" not in repr(settled)
    assert "xff" not in repr(settled)


@pytest.mark.parametrize(
    "output",
    [Output(type="tar"), Output(type="oci"), Output(type="docker", destination="-")],
)
def test_standard_output_is_the_callers(output: Output) -> None:
    with pytest.raises(InputError, match=f"type={output.type} needs a destination"):
        settle(BuildRequest(context="/x", outputs=(output,)), "/here", {})
