"""Texts that speak to the terminal: whoever reads an error, a step's name or a table sees what is there.

Sequences of control characters in names move the cursor, set titles and answer questions (the class of
CVE-2024-52005 and of Docker's "docker logs" reports); marks of direction turn what is read (CVE-2021-42574).
"""

from __future__ import annotations

import pytest

from polyarch.cli.display.trace import Trace
from polyarch.digest import sha256
from polyarch.progress import StatusEvent, StepEvent, WarningEvent
from polyarch.text.shown import shown, shown_line
from tests.support.machine.programs import Person

TITLE = "\x1b]0;owned\x07"
STEP = sha256(b"step")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain ☃ text", "plain ☃ text"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("over\rwritten", "over\\rwritten"),
        ("\x9b2J", "\\x9b2J"),
        ("admin\u202e// nimda", "admin\\u202e// nimda"),
        ("\x00\x07\x7f", "\\x00\\x07\\x7f"),
    ],
)
def test_what_is_shown_of_a_text(text: str, escaped: str) -> None:
    assert shown(text) == escaped


def test_a_line_stays_one() -> None:
    assert shown_line("#1 a\n#1 DONE") == "#1 a\\n#1 DONE"


def test_displays_escape_what_they_are_told() -> None:
    trace = Trace(keep=None)
    trace.apply(StepEvent(step=STEP, name=f"COPY {TITLE}\n", started=1.0, error=TITLE), 1.0)
    trace.apply(StatusEvent(step=STEP, id=TITLE), 1.0)
    trace.apply(WarningEvent(step=STEP, short=TITLE), 1.0)

    vertex = trace.by_digest[STEP]
    said = [vertex.name, vertex.error, *vertex.statuses, vertex.warnings[0].short]
    assert "\x1b" not in "".join(said)
    assert vertex.name == "COPY \\x1b]0;owned\\x07\\n"


@pytest.mark.runtime
@pytest.mark.root
@pytest.mark.parametrize(
    "dockerfile",
    [
        f"FROM scratch\nCOPY {TITLE} /\n",
        f"FROM scratch\nNOTHING {TITLE}\n",
        f"FROM scratch\nLABEL a=${{b:?{TITLE}}}\n",
        f"FROM scratch AS {TITLE}\n",
        f"FROM {TITLE}\n",
        f"# syntax={TITLE}\nFROM scratch\n",
        f"FROM scratch\nMAINTAINER {TITLE}\nCOPY nothing /\n",
    ],
)
@pytest.mark.parametrize("progress", ["plain", "auto"])
def test_nothing_of_a_dockerfile_speaks(root: Person, dockerfile: str, progress: str) -> None:
    root.write("Dockerfile", dockerfile)

    ended = root.run("build", f"--progress={progress}", ".")

    assert ended.status != 0
    assert "\x1b" not in ended.err
    assert "\x07" not in ended.err


@pytest.mark.runtime
@pytest.mark.root
@pytest.mark.parametrize(
    "words",
    [
        ["build", "-f", TITLE, "."],
        ["build", f"--{TITLE}", "."],
        ["build", "--build-context", f"x={TITLE}", "."],
        ["build", "-t", TITLE, "."],
        ["build", "--platform", TITLE, "."],
        [TITLE],
    ],
)
def test_nothing_of_a_command_line_speaks(root: Person, words: list[str]) -> None:
    root.write("Dockerfile", "FROM scratch\n")

    ended = root.run(*words)

    assert ended.status != 0
    assert "\x1b" not in ended.err
