"""What every command has in common: it loads, and its help says how it is used."""

from __future__ import annotations

import re

import pytest

from polyarch.cli.commands import COMMANDS, GROUPS, Entry, find, load
from polyarch.cli.complete import Completion, complete
from polyarch.cli.frame.flags import parse_flags
from polyarch.cli.helptext import GLOBAL_FLAGS
from tests.support.machine.commands import call

EACH = pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name.replace(" ", "-"))


@EACH
def test_help_has_usage_and_an_example(entry: Entry) -> None:
    command = load(entry)
    printed = call(*entry.name.split(), "--help", environ={})
    lines = printed.out.splitlines()

    assert (printed.status, printed.err) == (0, "")
    assert lines[0] == f"Usage:  polyarch {entry.name} {command.usage}".rstrip()
    assert entry.summary in lines
    assert "Examples:" in lines
    assert re.search(rf"^  \$ .*\bpolyarch {entry.name}\b", printed.out, re.MULTILINE)
    for flag in command.flags:
        assert (
            f"--{flag.name} " in printed.out or f"--{flag.name}\n" in printed.out
        ) != flag.hidden


@EACH
def test_flags_are_explained_and_their_defaults_are_read(entry: Entry) -> None:
    command = load(entry)
    for flag in command.flags:
        assert flag.help or flag.hidden, flag.name
        if flag.default:
            parse_flags(command.flags, [f"--{flag.name}={flag.default}"])
    names = [flag.name for flag in (*command.flags, *GLOBAL_FLAGS)]
    shorts = [flag.short for flag in command.flags if flag.short]
    assert len(shorts) == len(set(shorts))
    assert names.count("help") == 0


@EACH
def test_every_command_completes(entry: Entry) -> None:
    found = complete([*entry.name.split(), "--"], {})

    expected = sorted(
        f"--{flag.name}" for flag in (*load(entry).flags, *GLOBAL_FLAGS) if not flag.hidden
    )
    assert isinstance(found, Completion)
    assert {*expected} - {"--builder"} <= {value for value, _ in found.candidates}


def test_groups_list_their_members() -> None:
    for group, summary in GROUPS.items():
        printed = call("help", group, environ={}).out

        assert summary in printed
        for entry in COMMANDS:
            if entry.name.startswith(f"{group} "):
                assert entry.name.partition(" ")[2] in printed


def test_names_are_found_with_their_aliases() -> None:
    for entry in COMMANDS:
        for name in (entry.name, *entry.aliases):
            assert find([*name.split(), "more"]) == (entry, len(name.split()))
