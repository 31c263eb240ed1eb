"""Questions about Dockerfiles, as frontends are asked them and answer: texts and JSON by name.

Source: BuildKit's `frontend/subrequests`.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.cli.building.calls import (
    Answer,
    describe,
    metadata_of,
    outline_answer,
    targets_answer,
)
from polyarch.cli.building.check import check_answer
from polyarch.engine.engine import Engine
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.pipeline.questions import check_on, outline_on, targets_on
from polyarch.progress import CancelToken, Sink
from polyarch.request.values import BuildRequest

__all__ = ["answers"]


def answers(
    name: str, engine: Engine, request: BuildRequest, sink: Sink, cancel: CancelToken
) -> Mapping[str, bytes]:
    """Answer a question about a Dockerfile, as frontends do: texts by their names."""
    found = metadata_of(_asked(name, engine, request, sink, cancel))
    return {
        key: value.encode() if isinstance(value, str) else indented(value)
        for key, value in found.items()
    }


def _asked(
    name: str, engine: Engine, request: BuildRequest, sink: Sink, cancel: CancelToken
) -> Answer:
    match name:
        case "frontend.subrequests.describe":
            return describe()
        case "frontend.outline":
            return outline_answer(outline_on(engine, request, sink=sink, cancel=cancel))
        case "frontend.targets":
            return targets_answer(targets_on(engine, request, sink=sink, cancel=cancel))
        case "frontend.lint":
            return check_answer(check_on(engine, request, sink=sink, cancel=cancel))
    raise InputError(f"unsupported request {name}")
