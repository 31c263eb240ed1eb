from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.request.secretfile import SECRET_LIMIT, check_secret_file


def test_a_file_may_be_as_large_as_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(bytes(SECRET_LIMIT))

    check_secret_file("token", str(path))


def test_a_larger_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(bytes(SECRET_LIMIT + 1))

    with pytest.raises(InputError, match=r"^secret token too big. max size 500KB$"):
        check_secret_file("token", str(path))


def test_one_that_isnt_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"^failed to stat /no/x: stat /no/x: no such file"):
        check_secret_file("token", "/no/x")
