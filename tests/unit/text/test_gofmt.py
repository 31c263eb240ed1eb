import pytest

from polyarch.text.gofmt import duration, quoted, quoted_list


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (250_000_000, "250ms"),
        (1_500_000_000, "1.5s"),
        (30_000_000_000, "30s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (5_430_000_000_000, "1h30m30s"),
        (-2_000_000_000, "-2s"),
    ],
)
def test_duration(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


def test_quoted() -> None:
    assert quoted('a"b\\c\n\x01é') == '"a\\"b\\\\c\\n\\x01é"'


def test_quoted_list_has_no_commas() -> None:
    assert quoted_list(["x", 'y"z']) == '["x" "y\\"z"]'
