"""Working directories without links, for runtimes that would follow them."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.record import replace
from polyarch.runtime.base import Refused
from polyarch.runtime.step import Bind, Step
from polyarch.runtime.workdir import with_plain_directory


@pytest.fixture
def step(tmp_path: Path) -> Step:
    root = tmp_path / "root"
    (root / "real/below").mkdir(parents=True)
    (root / "to-real").symlink_to("real")
    (root / "real/up").symlink_to("../to-real/below")
    (root / "loop").symlink_to("/loop")
    (root / "to-proc").symlink_to("/proc/self/fd")
    return Step(argv=("true",), rootfs=str(root))


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/", "/"),
        ("/to-real/up/..", "/real"),
        ("/real/up/new", "/real/below/new"),
        ("/../../to-real", "/real"),
    ],
)
def test_links_are_followed_inside_of_the_root(step: Step, path: str, plain: str) -> None:
    assert with_plain_directory(replace(step, cwd=path)).cwd == plain


def test_links_of_a_mount_are_followed_in_it(step: Step, tmp_path: Path) -> None:
    (tmp_path / "other/deep").mkdir(parents=True)
    (tmp_path / "other/link").symlink_to("deep")
    mount = Bind(source=str(tmp_path / "other"), target="/to-real", read_only=True)

    found = with_plain_directory(replace(step, mounts=(mount,), cwd="/real/link"))

    assert found.cwd == "/real/deep"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/loop/x", "too many symbolic links in '/loop/x'"),
        ("/to-proc/1", "it may not lead through links of /proc"),
    ],
)
def test_what_cannot_be_entered_is_refused(step: Step, path: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        with_plain_directory(replace(step, cwd=path))
