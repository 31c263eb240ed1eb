from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.cli.building.limits import resource_flag, ulimit_flag
from polyarch.cli.building.values import (
    allow_flag,
    annotation_flag,
    secret_flag,
)
from polyarch.cli.display.display import open_display
from polyarch.errors import InputError
from polyarch.request.make import make_request


def hint(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return caught.value.hint


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: ulimit_flag(["nofle=1"]), "nofile"),
        (lambda: secret_flag(["id=a,type=fiel"]), "file"),
        (lambda: secret_flag(["id=a,scr=b"]), "src"),
        (lambda: annotation_flag(["indx:a=b"]), "index"),
        (lambda: resource_flag(["cpu-share=1"]), "cpu-shares"),
        (lambda: allow_flag(["network.hots"]), "network.host"),
        (lambda: open_display("plian", stream=None, environ={}), "plain"),  # type: ignore[arg-type]
    ],
)
def test_values_that_flags_do_not_know(call: Callable[[], object], expected: str) -> None:
    assert hint(call) == f"did you mean {expected}?"


def test_a_network_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'mode "hots" is not supported \(did you mean'):
        make_request(tmp_path, network="hots")
