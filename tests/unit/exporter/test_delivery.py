"""Archives that other machines made, at the places that were asked for."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from polyarch.errors import PolyarchError
from polyarch.exporter.delivery import deliver
from polyarch.request.values import Output, OutputType


def archive(names: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    file.seek(0)
    return file


def local(directory: Path, **attributes: str) -> Output:
    return Output(type=OutputType.LOCAL, destination=str(directory), attributes=attributes)


@pytest.mark.parametrize(
    ("attributes", "left"),
    [({}, ["new", "old"]), ({"mode": "copy"}, ["new", "old"]), ({"mode": "delete"}, ["new"])],
)
def test_a_directory_mirrors_what_came_if_it_shall(
    tmp_path: Path, attributes: dict[str, str], left: list[str]
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").write_bytes(b"old")

    deliver(local(place, **attributes), archive({"new": b"new"}))

    assert sorted(os.listdir(place)) == left
    assert (place / "new").read_bytes() == b"new"
    assert (place / "new").stat().st_uid == os.geteuid()


def test_an_archive_that_breaks_off_leaves_the_directory_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").write_bytes(b"old")
    whole = archive({"first": b"1", "second": b"2" * 2000}).getvalue()

    with pytest.raises(PolyarchError):
        deliver(local(place, mode="delete"), io.BytesIO(whole[:2048]))

    assert os.listdir(place) == ["old"]
