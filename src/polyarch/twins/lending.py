"""The emulator beside the twins: for a program that looks like a twin's and isn't, and for LD_PRELOAD and its kin."""

from __future__ import annotations

import os
import shutil

from polyarch.errors import StoreError
from polyarch.paths import replacing
from polyarch.twins.places import CPUINFO, EMULATOR
from polyarch.twins.sets import TwinSet

__all__ = ["lend_cpuinfo", "lend_emulator"]


def lend_emulator(twin_set: TwinSet, emulator: str) -> None:
    """Put the emulator at `emulator` into a set, unless it is there. Raises StoreError."""
    place = twin_set.directory / EMULATOR
    try:
        wanted = os.stat(emulator)
        if place.exists():
            there = place.stat()
            same = (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
            if same and there.st_mode & 0o111:
                return
        with replacing(place) as aside:
            shutil.copyfile(emulator, aside)
            aside.chmod(0o755)
            os.utime(aside, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))
    except OSError as error:
        raise StoreError(f"{place} can't be written: {error.strerror}") from error


def lend_cpuinfo(twin_set: TwinSet, shown: bytes | None) -> None:
    """Put into a set what twins are to see as /proc/cpuinfo; None for the machine's own. Raises StoreError."""
    place = twin_set.directory / CPUINFO
    try:
        if shown is None:
            place.unlink(missing_ok=True)
        elif not place.exists() or place.read_bytes() != shown:
            with replacing(place) as aside:
                aside.write_bytes(shown)
                aside.chmod(0o444)
    except OSError as error:
        raise StoreError(f"{place} can't be written: {error.strerror}") from error
