import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.worker.filemode import parse_mode

CLAUSES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["u", "g", "o", "a", "ug", "go", "ugo"]),
    st.sampled_from("+-="),
    st.one_of(st.text("rwxXst", max_size=4), st.sampled_from("ugo")),
)


@pytest.mark.parametrize(
    ("text", "mode", "is_directory", "expected"),
    [
        ("0640", 0o4755, False, 0o640),
        ("4755", 0o644, False, 0o4755),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("g=u", 0o640, False, 0o660),
        ("u+s,o+t", 0o755, False, 0o5755),
    ],
)
def test_mode(text: str, mode: int, is_directory: bool, expected: int) -> None:
    assert parse_mode(text)(mode, is_directory) == expected


@pytest.mark.parametrize("text", ["", "8", "10000", "u", "rwx", "u=rw,", "z+x", "0x1ff"])
def test_bad_mode(text: str) -> None:
    with pytest.raises(InputError, match="invalid chmod parameter"):
        parse_mode(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(CLAUSES, min_size=1, max_size=3), st.integers(0, 0o777), st.booleans())
def test_agrees_with_chmod(clauses: list[str], mode: int, is_directory: bool) -> None:
    text = ",".join(clauses)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.mkdir() if is_directory else path.touch()
        path.chmod(mode)
        subprocess.run(["chmod", "--", text, path], check=True)
        expected = stat.S_IMODE(path.stat().st_mode)

    assert f"{parse_mode(text)(mode, is_directory):o}" == f"{expected:o}"
