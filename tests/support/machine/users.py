"""For whom a test runs, where it needn't be for each kind of user that the fixture `user` knows."""

from __future__ import annotations

import pytest

__all__ = ["for_one_user", "for_users_each_with"]

for_one_user = pytest.mark.parametrize("user", ["many ids"], indirect=True)
"""For what is done before or behind the engine, or by it without anything that depends on its ids."""


def for_users_each_with(name: str, *values: object) -> pytest.MarkDecorator:
    """Return the mark of a test that wants all values of `name`, and all kinds of users, not each with each.

    The users take turns, beginning with root.
    """
    users = ("root", "many ids", "one id")
    pairs = [(users[number % 3], value) for number, value in enumerate(values)]
    return pytest.mark.parametrize(("user", name), pairs, indirect=["user"])
