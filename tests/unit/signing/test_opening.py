from __future__ import annotations

import sys

import pytest

from polyarch.errors import MachineError
from polyarch.request.signing import Signing
from polyarch.signing.opening import open_signers


def test_the_library_is_named_where_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "polyarch.signing.keys", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)

    with pytest.raises(MachineError) as caught:
        open_signers([Signing(key="cosign.key")], {})

    assert caught.value.hint == "install them with polyarch: pip install 'polyarch[sign]'"
