"""Layers whose times are cut off: from their archives as from their files."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

from polyarch.layer.changes import write_layer
from polyarch.layer.clamping import write_clamped
from polyarch.store.layerform import make_whiteout
from tests.support.images.trees import MTIME, plant

LIMIT = MTIME - 1000


def test_an_archive_is_written_as_its_files_would_be(tmp_path: Path) -> None:
    lower = plant(tmp_path / "l", {"d/gone": "1", f"{'n' * 60}/{'m' * 120}": "1"})
    long = "/".join("x" * 90 for _ in range(4))
    upper = plant(
        tmp_path / "u",
        {"d/new": "1" * 700, "l": "-> d/new", "a": "", long: "deep", "é": "e", "d/old": "old"},
    )
    (upper / "a").write_bytes(random.Random(1).randbytes(3 << 20))
    (upper / "a").chmod(0o4711)
    os.link(upper / "d/new", upper / "d/other")
    os.utime(upper / "d/old", (LIMIT - 5, LIMIT - 5))
    os.mkfifo(upper / "pipe")
    make_whiteout(str(upper / "d/gone"))
    directory = upper / ("n" * 60)
    directory.mkdir()
    make_whiteout(str(directory / ("m" * 120)))
    os.setxattr(upper / "a", "user.polyarch.owner", b"70000:3000000")
    archive, wanted, made = io.BytesIO(), io.BytesIO(), io.BytesIO()
    write_layer(upper, (lower,), archive)
    write_layer(upper, (lower,), wanted, clamp=lambda mtime: min(mtime, LIMIT * 10**9))

    write_clamped(io.BytesIO(archive.getvalue()), made, LIMIT)

    assert archive.getvalue() != wanted.getvalue()
    assert made.getvalue() == wanted.getvalue()
