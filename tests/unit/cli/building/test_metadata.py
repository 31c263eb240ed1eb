"""What a metadata file holds."""

from __future__ import annotations

from polyarch.cli.building.build import distinct
from polyarch.digest import sha256
from polyarch.progress import WarningEvent
from polyarch.record import replace


def test_what_two_targets_warn_of_alike_is_told_once() -> None:
    first = WarningEvent(step=sha256(b"a"), short="Consistent", line=1, last_line=1, filename="D")
    other_line = replace(first, line=2, last_line=2)

    found = distinct([first, replace(first, step=sha256(b"b")), other_line])

    assert found == [first, other_line]
