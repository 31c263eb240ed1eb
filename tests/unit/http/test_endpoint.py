from __future__ import annotations

import pytest

from polyarch.http.endpoint import is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.1.2.3:80", True),
        ("[::1]:5000", True),
        ("localhost.example", False),
        ("127.0.0.1.example:80", False),
        ("10.0.0.1", False),
    ],
)
def test_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
