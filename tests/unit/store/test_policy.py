from __future__ import annotations

from polyarch.store.policy import default_policies, default_space

GB = 1_000_000_000


def test_default_policies_are_buildkits() -> None:
    first, second, third, fourth = default_policies(default_space(500 * GB))

    assert (first.max_used, first.keep_seconds, sorted(first.types)) == (
        512_000_000,
        172_800,
        ["exec.cachemount", "source.git.checkout", "source.local"],
    )
    assert (second.reserved, second.max_used, second.min_free) == (10 * GB, 100 * GB, 94 * GB)
    assert (second.keep_seconds, third.keep_seconds, third.all, fourth.all) == (
        60 * 86400,
        0,
        False,
        True,
    )
    assert default_space(0).max_used == 2 * GB
