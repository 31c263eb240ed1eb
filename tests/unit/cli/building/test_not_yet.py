"""What is asked for and isn't there yet."""

from __future__ import annotations

import pytest

from polyarch.cli.building.not_yet import check_there
from polyarch.cli.building.request import Asked
from polyarch.cli.commands import COMMANDS, Entry, load
from polyarch.errors import InputError
from polyarch.request.values import BuildRequest


def test_policies_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        check_there(Asked(request=BuildRequest(context="."), policies=("p.rego",)))

    assert str(caught.value) == "--policy can't be carried out yet"


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_help_shows_nothing_that_has_no_effect_as_if_it_had(entry: Entry) -> None:
    """A flag that no command reads is hidden, or says so."""
    silent = {"timeout", "policy"}

    for flag in load(entry).flags:
        if flag.name in silent:
            assert flag.hidden
