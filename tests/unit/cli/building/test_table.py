from __future__ import annotations

from polyarch.cli.building.table import BUILD_FLAGS, ignored_flags
from polyarch.cli.frame.flags import parse_flags


def warnings(*words: str) -> list[str]:
    return ignored_flags(parse_flags(BUILD_FLAGS, words))


def test_flags_without_effect_are_told() -> None:
    assert warnings("--squash", ".") == [
        "WARNING: --squash has no effect: a multi-stage Dockerfile gives an image of few layers"
    ]
