"""Which words of `build` a target stands for."""

from __future__ import annotations

from polyarch.bakefile.target import Target
from polyarch.cli.baking.words import build_words


def test_a_host_of_several_addresses_is_a_word_for_each() -> None:
    hosts = {"one": "1.2.3.4", "two": "1.2.3.5,[::1]", "none": None}

    words = build_words(Target(name="t", extra_hosts=hosts))

    assert [each for each in words if each.startswith("--add-host")] == [
        "--add-host=one=1.2.3.4",
        "--add-host=two=1.2.3.5",
        "--add-host=two=[::1]",
    ]
