"""What targets of a definition in a repository get of what its server was shown."""

from __future__ import annotations

import pytest

from polyarch.bakefile.config import Plan
from polyarch.bakefile.entries import Secret, Ssh
from polyarch.bakefile.target import Target
from polyarch.cli.baking.logins import with_logins

ADDRESS = "https://h:1/x.git"
ENVIRON = {"buildx_bake_git_auth_token": "t", "OTHER": "x"}


@pytest.mark.parametrize(
    ("address", "context", "secrets", "agents"),
    [
        (ADDRESS, "https://h:1/y.git#v1:sub", ("GIT_AUTH_TOKEN.h:1",), ()),
        (ADDRESS, "https://other/y.git", (), ()),
        (ADDRESS, ".", (), ()),
        ("git@h:x.git", "git@h:x.git", (), ("default",)),
        ("", "https://h:1/y.git", (), ()),
    ],
)
def test_only_the_same_server_is_shown_it(
    address: str, context: str, secrets: tuple[str, ...], agents: tuple[str, ...]
) -> None:
    plan = Plan(targets={"a": Target(name="a", context=context)}, groups={})

    target = with_logins(plan, address, ENVIRON).targets["a"]

    found = tuple(Secret(id=name, env="buildx_bake_git_auth_token") for name in secrets)
    assert (target.secret or ()) == found
    assert (target.ssh or ()) == tuple(Ssh(id=name) for name in agents)
