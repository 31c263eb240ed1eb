"""CAs that are lent to a root, and taken back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.inotify import Renewals
from polyarch.worker.trust.bundles import lending, read_bundle
from polyarch.worker.trust.pem import encoded

OWN, MORE = b"a certificate of the image" * 4, b"a certificate of a company" * 4
DEBIAN = "etc/ssl/certs/ca-certificates.crt"
TIME = 1_700_000_000_123_456_789


@pytest.fixture
def never() -> Iterator[int]:
    """A descriptor that can't be read, for those who listen to it."""
    reader, writer = os.pipe()
    yield reader
    os.close(reader)
    os.close(writer)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / DEBIAN
    path.parent.mkdir(parents=True)
    path.write_text(encoded([OWN]))
    path.chmod(0o640)
    os.utime(path, ns=(TIME, TIME))
    return path


def test_the_file_is_as_it_was(tmp_path: Path, bundle: Path) -> None:
    before, at = bundle.read_bytes(), bundle.stat()
    # Alpine has a second name for it.
    (tmp_path / "etc/ssl/cert.pem").symlink_to("certs/ca-certificates.crt")

    with lending(tmp_path, [MORE, OWN]):
        assert read_bundle(tmp_path) == (OWN, MORE)
        assert bundle.read_text() == encoded([OWN, MORE])

    after = bundle.stat()
    assert bundle.read_bytes() == before
    assert (after.st_mtime_ns, after.st_mode, after.st_ino) == (
        at.st_mtime_ns,
        at.st_mode,
        at.st_ino,
    )


def test_what_a_step_adds_stays(tmp_path: Path, bundle: Path) -> None:
    with lending(tmp_path, [MORE]), bundle.open("a") as file:
        file.write("# added\n")

    assert bundle.read_text() == encoded([OWN]) + "# added\n"
    assert bundle.stat().st_mtime_ns > TIME


def test_a_bundle_that_is_made_anew_has_nothing_to_give_back(tmp_path: Path, bundle: Path) -> None:
    new = bundle.with_name("new")
    new.write_text(encoded([OWN, OWN]))
    with lending(tmp_path, [MORE]):
        new.rename(bundle)

    assert bundle.read_text() == encoded([OWN, OWN])


def test_a_bundle_that_is_made_anew_gets_them_again(
    tmp_path: Path, bundle: Path, never: int
) -> None:
    """As `update-ca-certificates` does it."""
    new = bundle.with_name("new")
    new.write_text(f"# anew\n{encoded([OWN])}")
    with lending(tmp_path, [MORE]), Renewals() as renewals:
        renewals.watch(bundle.parent)
        new.rename(bundle)
        for _ in renewals.until(never):
            if read_bundle(tmp_path) == (OWN, MORE):
                break

    assert bundle.read_text() == f"# anew\n{encoded([OWN])}"


def test_a_bundle_without_an_end_of_its_last_line(tmp_path: Path, bundle: Path) -> None:
    bundle.write_text(encoded([OWN]).rstrip())
    with lending(tmp_path, [MORE]):
        assert read_bundle(tmp_path) == (OWN, MORE)

    assert bundle.read_text() == encoded([OWN]).rstrip()


@pytest.mark.parametrize("kind", ["directory", "pipe", "link out", "empty"])
def test_what_is_no_bundle_is_left_alone(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text(encoded([OWN]))
    path = tmp_path / "root" / DEBIAN
    path.parent.mkdir(parents=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link out":
        path.symlink_to("../../../../../outside")
    else:
        path.touch()

    with lending(tmp_path / "root", [MORE]):
        assert read_bundle(tmp_path / "root") == ()

    assert outside.read_text() == encoded([OWN])
    assert kind != "empty" or path.read_bytes() == b""
