from __future__ import annotations

from polyarch.cli.building.table import BUILD_FLAGS, ignored_flags
from polyarch.cli.frame.flags import parse_flags


def warnings(*words: str) -> list[str]:
    return ignored_flags(parse_flags(BUILD_FLAGS, words))


def test_flags_without_effect_are_told() -> None:
    assert warnings("--squash", ".") == [
        "WARNING: --squash has no effect: a multi-stage Dockerfile gives an image of few layers"
    ]


def test_builder_arguments_without_effect_are_told() -> None:
    assert warnings(
        "--build-arg", "BUILDKIT_ATTEST_SBOM=type=sbom", "--build-arg=BUILDKIT_INLINE_CACHE=1", "."
    ) == [
        "WARNING: --build-arg BUILDKIT_ATTEST_SBOM has no effect: attestations can't be made yet",
    ]


def test_nothing_is_told_of_arguments_that_switch_something_off() -> None:
    words = ("--build-arg=BUILDKIT_ATTEST_SBOM=disabled=true",)
    assert warnings(*words, "--build-arg=VERSION=1", ".") == []
