import pytest

from polyarch.layer.tarfields import byte_sum


@pytest.mark.parametrize(
    "data",
    [b"", bytes(512), b"\x7f" * 512, b"\xff" * 512, b"name" + bytes(508), "näme".encode()],
)
def test_byte_sum_is_the_sum_of_all_bytes(data: bytes) -> None:
    assert byte_sum(data) == sum(data)
