"""When something is tried again, and after how long."""

from __future__ import annotations

import pytest

from polyarch.errors import RegistryError
from polyarch.http.connection import Fields
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
    assert told_wait(Fields(pairs=(("retry-after", text),))) == seconds


@pytest.mark.parametrize(
    ("then", "seconds"), [("10:00:07", 7.0), ("09:00:00", 0.05), ("11:00:00", 30.0), ("noon", 0.0)]
)
def test_retry_after_a_date_is_by_the_clock_of_the_server(then: str, seconds: float) -> None:
    day = "Wed, 21 Oct 2015"
    fields = (("date", f"{day} 10:00:00 GMT"), ("retry-after", f"{day} {then} GMT"))

    assert told_wait(Fields(pairs=fields)) == seconds
