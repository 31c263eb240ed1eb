"""How errors are shown: what helps to understand them above, the error itself in the last line."""

from __future__ import annotations

import errno
import io

import pytest

from polyarch.cli.frame.report import CommandFailed, WrongCall, report
from polyarch.errors import (
    Cancelled,
    DockerfileError,
    InputError,
    RegistryError,
    Unanswered,
)
from polyarch.graph.location import Location, SourceText

PLACE = Location(source=SourceText(name="Dockerfile", text="FROM scratch\nFOO\n"), start=2, end=2)
EXCERPT = (
    "Dockerfile:2\n--------------------\n   1 |     FROM scratch\n   2 | >>> FOO\n   3 |     \n"
    "--------------------\n"
)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (InputError("wrong"), "ERROR: wrong\n"),
        (InputError("wrong", hint="do better"), "hint: do better\nERROR: wrong\n"),
        (DockerfileError("wrong", place=PLACE), f"{EXCERPT}ERROR: wrong\n"),
        (
            CommandFailed("failed: ", DockerfileError("wrong", hint="do better", place=PLACE)),
            f"{EXCERPT}hint: do better\nERROR: failed: wrong\n",
        ),
        (WrongCall("wrong", "Usage:  it\n\nRun it"), "Usage:  it\n\nRun it\nERROR: wrong\n"),
        (Cancelled("canceled"), "ERROR: canceled\n"),
        (
            OSError(errno.EIO, "Input/output error", "/a"),
            (
                "hint: the disk reports errors: look at the kernel's log\n"
                "ERROR: can't use /a: Input/output error\n"
            ),
        ),
    ],
    ids=str,
)
def test_the_error_comes_last(error: Exception, shown: str) -> None:
    stream = io.StringIO()

    status = report(error, stream, {}, debug=False)

    assert (stream.getvalue(), status) == (shown, getattr(error, "exit_status", 1))


@pytest.mark.parametrize("debug", [False, True])
def test_of_several_errors_the_last_line_is_one(*, debug: bool) -> None:
    stream = io.StringIO()
    both = ExceptionGroup("both", [InputError("one", hint="a"), InputError("two", hint="b")])

    report(both, stream, {}, debug=debug)

    assert stream.getvalue().endswith("hint: b\nERROR: two\n")


@pytest.mark.parametrize(
    ("wrong", "ends_with"),
    [
        (Unanswered("no"), 69),
        (RegistryError("no"), 76),
        (RegistryError("no", status=401), 77),
        (RegistryError("no", status=403), 77),
        (RegistryError("no", status=503), 76),
    ],
)
def test_what_went_wrong_at_a_registry_is_told_apart(wrong: RegistryError, ends_with: int) -> None:
    error = CommandFailed("failed: ", wrong)

    assert report(error, io.StringIO(), {}, debug=False) == ends_with
    assert report(error, io.StringIO(), {"POLYARCH_PLUGIN": "buildx"}, debug=False) == 1
