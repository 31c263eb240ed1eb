"""When something is tried again, and after how long."""

from __future__ import annotations

import pytest

from polyarch.errors import RegistryError
from polyarch.http.retry import Attempts, told_wait
from polyarch.progress import CancelToken


def test_waiting() -> None:
    waited: list[float] = []
    attempts = Attempts(CancelToken(), lambda seconds, _: waited.append(seconds))
    errors = iter(
        [
            RegistryError("a kept connection was hung up on", temporary=True),
            RegistryError("busy", status=503, temporary=True),
            RegistryError("come back", status=429, temporary=True, wait=7.0),
            RegistryError("busy", status=503, temporary=True),
            RegistryError("the last", status=503, temporary=True),
        ]
    )

    def operation() -> None:
        raise next(errors)

    with pytest.raises(RegistryError, match="the last"):
        attempts.run(operation)

    assert waited == [0.05, 1.0, 7.0, 4.0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("7", 7),
        ("0", 0.05),
        ("99999999", 30),
        ("-1", 0),
        ("Wed, 21 Oct 2026", 0),
        ("²", 0),
    ],
)
def test_retry_after(text: str, seconds: float) -> None:
    assert told_wait(text) == seconds
