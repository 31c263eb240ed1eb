"""What a user is asked at a terminal, and what counts as a yes."""

from __future__ import annotations

import io

import pytest

from polyarch.bakefile.allowed import Missing
from polyarch.cli.baking.permissions import ask_for
from polyarch.cli.frame.command import Context
from polyarch.errors import InputError

LACKS = Missing(
    reasons=(" - Read access to path /\x1b[2Kx\n - forged",), values=("fs.read=/\x1b[2Kx",)
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def asked(answer: str) -> Context:
    return Context(
        program="polyarch",
        environ={},
        stdin=Terminal(answer),
        stdout=io.StringIO(),
        stderr=io.StringIO(),
    )


@pytest.mark.parametrize("answer", ["y\n", "Y\n", " y \n"])
def test_a_yes_grants(answer: str) -> None:
    context = asked(answer)

    ask_for(LACKS, context)

    assert isinstance(context.stderr, io.StringIO)
    told = context.stderr.getvalue()
    assert told.endswith("Do you want to grant requested privileges and continue? [y/N] ")
    assert "In order to not see this message in the future pass" in told
    assert "\x1b" not in told
    assert "\n - forged" not in told


@pytest.mark.parametrize("answer", ["\n", "n\n", "yes please\n", ""])
def test_anything_else_does_not(answer: str) -> None:
    with pytest.raises(InputError, match="additional privileges requested"):
        ask_for(LACKS, asked(answer))


def test_nothing_is_asked_where_nothing_lacks() -> None:
    context = asked("")

    ask_for(Missing(), context)

    assert isinstance(context.stderr, io.StringIO)
    assert context.stderr.getvalue() == ""
