"""Questions about a Dockerfile, as clients of BuildKit's API ask them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.cli.serving.answers import answers
from polyarch.errors import InputError
from polyarch.progress import CancelToken, ignore_events
from polyarch.request.make import make_request
from tests.support.fakes.engine import BASE, fake_engine
from tests.support.images.trees import plant


def ask(tmp_path: Path, name: str) -> Mapping[str, bytes]:
    dockerfile = f"FROM {BASE} AS app\nARG WHO=me\nRUN echo $WHO\nMAINTAINER x\n"
    context = plant(tmp_path / "context", {"Dockerfile": dockerfile})
    with fake_engine(tmp_path) as engine:
        request = make_request(context)
        return answers(name, engine, request, ignore_events, CancelToken())


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("frontend.outline", "args", b"WHO"),
        ("frontend.targets", "targets", b"app (default)"),
        ("frontend.lint", "warnings", b"MaintainerDeprecated"),
    ],
)
def test_questions_are_answered_in_text_and_json(
    tmp_path: Path, name: str, key: str, said: bytes
) -> None:
    found = ask(tmp_path, name)

    assert said in found["result.txt"]
    assert key in json.loads(found["result.json"])
    assert found["version"] == b"1.0.0"
    assert found.get("result.statuscode") == (b"1" if name == "frontend.lint" else None)


def test_which_questions_there_are(tmp_path: Path) -> None:
    assert b"frontend.outline" in ask(tmp_path, "frontend.subrequests.describe")["result.json"]
    with pytest.raises(InputError, match=r"unsupported request frontend\.other"):
        ask(tmp_path, "frontend.other")
