import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.text.filemode import parse_mode

# Where chmod(1) and setmode(3) agree: no special bits, and X in a single clause.
ACTIONS = st.builds("{}{}".format, st.sampled_from("+-="), st.text("rwx", max_size=3))
WHO = st.sampled_from(["u", "g", "o", "a", "ug", "go", "ugo"])
CLAUSES = st.builds("{}{}".format, WHO, st.one_of(ACTIONS, st.sampled_from(["+u", "=g", "-o"])))
SEARCH = st.builds("{}{}{}X".format, WHO, st.sampled_from("+-="), st.text("rw", max_size=2))


@pytest.mark.parametrize(
    ("text", "mode", "is_directory", "expected"),
    [
        ("0640", 0o4755, False, 0o640),
        ("4755", 0o644, False, 0o4755),
        ("0", 0o644, False, 0),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("a-x,a+X", 0o755, False, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("g=u", 0o2640, False, 0o2660),
        ("u=go", 0o705, False, 0o505),
        ("g=uw", 0o740, False, 0o720),
        ("u+s,o+t", 0o755, False, 0o4755),
        ("u+t", 0o755, True, 0o1755),
        ("+rt", 0o300, True, 0o1300),
        ("u=rwx,g=rx", 0o6700, True, 0o750),
        ("a=rx", 0o1777, True, 0o1555),
        ("=", 0o7777, False, 0o1000),
        ("u+r-w+-x", 0o300, False, 0o400),
    ],
)
def test_mode(text: str, mode: int, is_directory: bool, expected: int) -> None:
    assert f"{parse_mode(text).of(mode, is_directory):o}" == f"{expected:o}"


@pytest.mark.parametrize("text", ["", "u", "rwx", "u=rw,", ",u=r", "z+x", "u+q", "-1"])
def test_bad_symbolic_mode(text: str) -> None:
    with pytest.raises(InputError, match=r"invalid chmod parameter: '.*': invalid syntax"):
        parse_mode(text)


@pytest.mark.parametrize("text", ["8", "10000", "0x1ff", "0o644", "644 "])
def test_bad_number(text: str) -> None:
    with pytest.raises(InputError, match="octal string and between 0 and 07777"):
        parse_mode(text)


@pytest.mark.parametrize(("text", "expected"), [("2770", 0o770), ("u=rwX,go=", 0o755)])
def test_directories_on_the_way_have_no_special_bits(text: str, expected: int) -> None:
    assert parse_mode(text).of_new_directories == expected


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(st.lists(CLAUSES, min_size=1, max_size=3), st.lists(SEARCH, min_size=1, max_size=1)),
    st.integers(0, 0o777),
    st.booleans(),
)
def test_agrees_with_chmod(clauses: list[str], mode: int, is_directory: bool) -> None:
    text = ",".join(clauses)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x")
        path.mkdir() if is_directory else path.touch()
        path.chmod(mode)
        subprocess.run(["chmod", "--", text, path], check=True)
        expected = stat.S_IMODE(path.stat().st_mode)

    assert f"{parse_mode(text).of(mode, is_directory):o}" == f"{expected:o}"
