"""What is asked for and isn't there yet: a line, or an error, and BuildKit's words for what nobody has."""

from __future__ import annotations

import pytest

from polyarch.cli.building.not_yet import left_out
from polyarch.cli.building.request import Asked
from polyarch.cli.building.values import attest_flag
from polyarch.cli.commands import COMMANDS, Entry, load
from polyarch.errors import InputError
from polyarch.request.values import BuildRequest


def asked(*, attest: tuple[str, ...] = ()) -> Asked:
    return Asked(request=BuildRequest(context="."), attestations=attest_flag(attest))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (asked(attest=("type=bogus",)), 'failed to solve: unknown attestation type "bogus"'),
    ],
)
def test_kinds_that_nobody_has(wanted: Asked, message: str) -> None:
    with pytest.raises(InputError) as caught:
        left_out(wanted, {})

    assert str(caught.value) == message


def test_attestations_are_refused_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        left_out(asked(attest=("type=sbom", "type=provenance,mode=max")), {})

    assert str(caught.value) == (
        "polyarch can't make attestations yet (sbom, provenance): build without, or leave them out "
        "with POLYARCH_IGNORE_ATTESTATIONS=1"
    )
    assert caught.value.hint == ""


@pytest.mark.parametrize(
    ("value", "setting"), [("1", False), ("true", False), ("", True), ("0", True)]
)
def test_attestations_that_may_be_left_out(value: str, setting: bool) -> None:
    environ = {"POLYARCH_IGNORE_ATTESTATIONS": value}

    lines = left_out(asked(attest=("type=sbom",)), environ, ignores_attestations=setting)

    assert lines == ["WARNING: attestations (sbom): left out, polyarch can't make them yet"]


def test_nothing_is_told_of_attestations_that_are_off() -> None:
    assert left_out(asked(attest=("type=sbom,disabled=true",)), {}) == []


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_help_shows_nothing_that_has_no_effect_as_if_it_had(entry: Entry) -> None:
    """A flag that no command reads is hidden, or says so."""
    silent = {"timeout", "keep-daemon", "keep-state", "policy", "print"}
    planned = {"attest", "sbom", "provenance"}

    for flag in load(entry).flags:
        if flag.name in silent:
            assert flag.hidden
        if flag.name in planned:
            assert "(not yet: " in flag.help
