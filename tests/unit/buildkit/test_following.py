"""Which paths are sent for one that leads through links."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.buildkit.following import followed

_LINKS = {
    "link": "dir/file",
    "absolute": "/dir",
    "out": "../../dir/file",
    "dir/up": "..",
    "deep/l1": "../link",
    "loop": "loop",
    "s-one": "dir",
    "s-two": "/deep/l1",
    "gone": "nowhere",
}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("plain", "plain"),
        ("link", "dir/file link"),
        ("dir/file", "dir/file"),
        ("absolute/file", "absolute dir/file"),
        ("out", "dir/file out"),
        ("dir/up/link", "dir/file dir/up link"),
        ("deep/l1", "deep/l1 dir/file link"),
        ("loop", "loop"),
        ("s-*", "deep/l1 dir dir/file link s-*"),
        ("d*/fil?", "d*/fil?"),
        ("gone", "gone nowhere"),
        ("../plain", "plain"),
        ("dir/up", ""),
        ("", ""),
        (".", ""),
    ],
)
def test_what_links_lead_to_is_sent_with_them(tmp_path: Path, asked: str, told: str) -> None:
    for name in ("plain", "dir/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    for name, target in _LINKS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(target)

    assert followed(tmp_path, [asked]) == told.split()
