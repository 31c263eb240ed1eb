"""What a proxy network needs beside the program."""

from __future__ import annotations

import pytest

from polyarch.errors import MachineError
from polyarch.worker.proxied import needs


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs.require_signing()
    monkeypatch.setattr(needs, "is_there", lambda _package: False)

    with pytest.raises(MachineError, match="needs the package cryptography") as caught:
        needs.require_signing()

    assert caught.value.hint == "install it: pip install 'polyarch[proxy]'"
