"""How emulated steps run: the nearer setting holds."""

from __future__ import annotations

import pytest

from polyarch.engine.emulated import mode_of
from polyarch.errors import InputError


@pytest.mark.parametrize(
    ("asked", "variable", "mode"),
    [("", "", "auto"), ("", "strict", "strict"), ("verify", "strict", "verify")],
)
def test_the_nearer_setting_holds(asked: str, variable: str, mode: str) -> None:
    assert mode_of(asked, {"POLYARCH_EMULATION": variable}) == mode


def test_a_variable_that_names_no_mode() -> None:
    with pytest.raises(InputError, match="POLYARCH_EMULATION: there is no emulation"):
        mode_of("", {"POLYARCH_EMULATION": "fast"})
