"""Pods for build contexts. What is expected was written down from docker buildx's own ring."""

from __future__ import annotations

import pytest

from polyarch.drivers.kubernetes.choosing import choose_pod

PODS = [f"b0-5d4f7c9b8-{end}" for end in ("2xkqp", "7wzln", "fh6vr", "t9c2m", "zzzzz")]


@pytest.mark.parametrize(
    ("key", "chosen"),
    [
        ("", "00000"),
        ("/home/me/project", "01111"),
        ("/", "01233"),
        ("/srv/a", "01222"),
        ("/srv/b", "01111"),
        ("/tmp/x/https:/github.com/moby/buildkit.git", "00000"),
    ],
)
def test_a_context_has_its_pod(key: str, chosen: str) -> None:
    found = [choose_pod(PODS[:count], key, is_random=False) for count in range(1, 6)]

    assert found == [PODS[int(number)] for number in chosen]


def test_at_random_all_are_chosen() -> None:
    assert {choose_pod(PODS, "", is_random=True) for _ in range(500)} == set(PODS)
