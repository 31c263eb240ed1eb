"""A disk that is full while an overlay is mounted: told as what it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from polyarch.errors import NamespaceForbidden, StoreError
from polyarch.snapshot import overlay


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.ENOSPC, StoreError, "the disk is full: "),
        (errno.EDQUOT, StoreError, "the disk quota is used up: "),
        (errno.EPERM, NamespaceForbidden, "'polyarch doctor' tells"),
    ],
)
def test_what_a_mount_failed_for(number: int, kind: type[StoreError], hint: str) -> None:
    with pytest.raises(kind) as caught, overlay._mount_trouble(Path("/merged")):
        raise OSError(number, os.strerror(number))

    assert caught.value.hint.startswith(hint)
