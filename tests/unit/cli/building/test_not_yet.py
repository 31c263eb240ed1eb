"""What is asked for and isn't there yet: a line, or an error."""

from __future__ import annotations

import pytest

from polyarch.cli.building.not_yet import left_out
from polyarch.cli.building.request import Asked
from polyarch.cli.building.values import cache_flag
from polyarch.cli.commands import COMMANDS, Entry, load
from polyarch.errors import InputError
from polyarch.request.values import BuildRequest


def asked(*, to: str = "", of: str = "") -> Asked:
    return Asked(
        request=BuildRequest(context=".", cache_to=cache_flag([to]), cache_from=cache_flag([of])),
    )


def test_caches_are_told_of_once() -> None:
    wanted = asked(to="type=s3,bucket=b", of="type=azblob,name=x")

    assert left_out(wanted) == [
        "WARNING: --cache-from type=azblob, --cache-to type=s3: no effect yet, use registry, local, gha or inline"
    ]


def test_policies_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        left_out(Asked(request=BuildRequest(context="."), policies=("p.rego",)))

    assert str(caught.value) == "--policy can't be carried out yet"


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_help_shows_nothing_that_has_no_effect_as_if_it_had(entry: Entry) -> None:
    """A flag that no command reads is hidden, or says so."""
    silent = {"timeout", "keep-daemon", "keep-state", "policy", "print"}

    for flag in load(entry).flags:
        if flag.name in silent:
            assert flag.hidden
