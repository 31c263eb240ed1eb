"""Files of several platforms that several machines built."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from polyarch.pipeline.separating import Separating
from polyarch.platforms import Platform
from polyarch.platforms import parse as parse_platform
from polyarch.request.make import make_request
from polyarch.request.values import BuildRequest, Output

AMD, ARM, ARM7 = map(parse_platform, ("linux/amd64", "linux/arm64", "linux/arm/v7"))


def request(*outputs: Output) -> BuildRequest:
    return make_request(".", outputs=outputs)


def archive(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(b"x" * each.size))
    return stream.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.uid, info.mtime = kind, link, size, 7, 5
    return info


@pytest.mark.parametrize(
    ("platforms", "attributes", "directory"),
    [
        ((AMD,), {}, "out/linux_amd64"),
        ((ARM7,), {"platform-split": "true"}, "out/linux_arm_v7"),
        ((AMD, ARM), {}, "out"),
        ((AMD,), {"platform-split": "false"}, "out"),
    ],
)
def test_a_part_has_a_directory_of_its_own(
    platforms: tuple[Platform, ...], attributes: dict[str, str], directory: str, tmp_path: Path
) -> None:
    whole = request(Output(type="local", destination="out", attributes=attributes))

    part = Separating(tmp_path).part(whole, platforms)

    assert part.outputs[0].destination.rstrip("/") == directory


def test_archives_are_put_together(tmp_path: Path) -> None:
    whole = request(
        Output(type="image"), Output(type="tar", destination=str(tmp_path / "all/out.tar"))
    )
    separating = Separating(tmp_path)
    parts = [separating.part(whole, each) for each in ((AMD,), (ARM, ARM7))]
    Path(parts[0].outputs[1].destination).write_bytes(
        archive(
            member("bin", tarfile.DIRTYPE),
            member("bin/a", size=100_000),
            member("bin/b", tarfile.LNKTYPE, "bin/a"),
            member("bin/c", tarfile.SYMTYPE, "a"),
        )
    )
    Path(parts[1].outputs[1].destination).write_bytes(archive(member("linux_arm64/a", size=3)))

    separating.join(whole)

    with tarfile.open(tmp_path / "all/out.tar") as tar:
        found = {each.name: (each.linkname, each.size, each.uid, each.mtime) for each in tar}
        content = tar.extractfile("linux_amd64/bin/a")
        assert content is not None
        assert content.read() == b"x" * 100_000
    assert parts[0].outputs[0] == whole.outputs[0]
    assert found == {
        "linux_amd64": ("", 0, 0, 0),
        "linux_amd64/bin": ("", 0, 7, 5),
        "linux_amd64/bin/a": ("", 100_000, 7, 5),
        "linux_amd64/bin/b": ("linux_amd64/bin/a", 0, 7, 5),
        "linux_amd64/bin/c": ("a", 0, 7, 5),
        "linux_arm64/a": ("", 3, 7, 5),
    }
