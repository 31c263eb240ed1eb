import pytest

from polyarch.dockerfile.lowering.windows import windows_path
from polyarch.errors import DockerfileError


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("C:\\", "/"),
        ("c:\\a\\..\\b\\", "/b"),
        ("C:a", "a"),
        ("\\a", "/a"),
        ("a/b\\c", "a/b/c"),
        ("", ""),
    ],
)
def test_windows_path(written: str, path: str) -> None:
    assert windows_path(written) == path


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("C:", 'No relative path specified in "C:"'),
        ("d:\\a", r"The specified path is not on the system drive \(C:\)"),
        ("\\\\server\\share", "UNC paths are not supported"),
    ],
)
def test_paths_that_no_image_has(written: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        windows_path(written)


def test_a_slash_may_be_kept() -> None:
    assert windows_path("C:\\a\\", keep_slash=True) == "/a/"
    assert windows_path("C:\\", keep_slash=True) == "/"
    assert windows_path("a", keep_slash=True) == "a"
