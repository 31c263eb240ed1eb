"""A program that goes to another root leaves a mark: this machine's chroot, with a libc that does so."""

from __future__ import annotations

import subprocess
from pathlib import Path

from polyarch.emulation.extended import Extended
from polyarch.inotify import Openings
from polyarch.twins.patch import Surroundings, patch_libc
from polyarch.twins.patch_chroot import mark_chroot

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")


def test_it_leaves_the_mark_and_goes_there(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    around = Surroundings(
        loader="/none", cache="/none", emulator="/none", given_up=str(mark), machine="aarch64"
    )
    libc = (LIBRARIES / "libc.so.6").read_bytes()
    (tmp_path / "libc.so.6").write_bytes(patch_libc(libc, around))
    environ = {"LD_LIBRARY_PATH": str(tmp_path), "PATH": "/usr/sbin:/usr/bin"}

    with Openings([mark]) as openings:
        elsewhere = subprocess.run(
            ["unshare", "-r", "chroot", str(tmp_path), "/none"],
            env=environ,
            capture_output=True,
            check=False,
            text=True,
        )

    assert elsewhere.stderr.endswith("'/none': No such file or directory\n")
    assert openings.counts == [1]


def test_a_library_without_the_call_stays_as_it_was() -> None:
    library = Extended((LIBRARIES / "libz.so.1").read_bytes())
    before = library.data

    assert mark_chroot(library, "/mark") == 0
    assert library.data == before
