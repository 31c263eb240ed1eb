"""Emulators that were fetched from images: in the store's directory, several versions side by side.

    qemu/HEX/origin.json     the image's addresses and digest, which HEX is of
    qemu/HEX/qemu-aarch64    its emulators, as they are called there

A directory appears whole, by a rename, and its time is when it was used last: the collector removes those
that nobody has used for long. This room reads and writes them; `polyarch.engine.emulators` fetches.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from polyarch.digest import Digest, hex_of, parse_digest
from polyarch.errors import InvalidDigest
from polyarch.paths import replacing
from polyarch.record import frozen

__all__ = [
    "DEFAULT_IMAGE",
    "IMAGE_VARIABLE",
    "KEPT_DIRECTORY",
    "KEPT_SECONDS",
    "KeptEmulators",
    "all_kept",
    "emulator_image",
    "find_kept",
    "note_use",
    "write_origin",
]

IMAGE_VARIABLE = "POLYARCH_QEMU_IMAGE"
DEFAULT_IMAGE = "docker.io/tonistiigi/binfmt:latest"
KEPT_DIRECTORY = "qemu"
KEPT_SECONDS = 60 * 24 * 3600.0
"""For so long the collector leaves emulators that nobody uses, as it does with documents of images."""

_NONE = "none"
_ORIGIN = "origin.json"
_NOTED_SECONDS = 3600.0
"""Uses that follow one another are noted once: an unchanged build writes nothing."""


def emulator_image(environ: Mapping[str, str]) -> str:
    """Return the address of the image that emulators are fetched from; "" if none may be."""
    address = environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE
    return "" if address == _NONE else address


@frozen
class KeptEmulators:
    """The emulators of one image: where they are, and what the image was called and is.

    `digest` is that of the manifest for this machine, `used` when they were used last, in seconds.
    """

    directory: Path
    addresses: tuple[str, ...]
    digest: Digest
    used: float

    @property
    def origin(self) -> str:
        """What people are told of where they come from."""
        address = self.addresses[-1] if self.addresses else "an image"
        return f"{address.partition('@')[0]}@{self.digest}"


def all_kept(root: Path | None) -> tuple[KeptEmulators, ...]:
    """Return what is kept in the store at `root`, what was used last first; nothing for None."""
    if root is None:
        return ()
    try:
        directories = [each for each in os.scandir(root / KEPT_DIRECTORY) if each.is_dir()]
    except OSError:
        return ()
    found = filter(None, (_read(Path(each.path)) for each in directories))
    return tuple(sorted(found, key=lambda each: (-each.used, each.digest)))


def find_kept(root: Path | None, address: str) -> KeptEmulators | None:
    """Return what was fetched from the image that is called so, if it is kept."""
    return next((each for each in all_kept(root) if address in each.addresses), None)


def _read(directory: Path) -> KeptEmulators | None:
    """Read what a directory is; None for one that isn't whole, which nobody but a stranger makes."""
    try:
        used = directory.stat().st_mtime
        fields = json.loads((directory / _ORIGIN).read_bytes())
        addresses, digest = map(str, fields["images"]), parse_digest(str(fields["digest"]))
    except (OSError, ValueError, KeyError, TypeError, InvalidDigest):
        return None
    if hex_of(digest) != directory.name:
        return None
    return KeptEmulators(directory=directory, addresses=tuple(addresses), digest=digest, used=used)


def write_origin(directory: Path, digest: Digest, addresses: tuple[str, ...]) -> None:
    """Note in a directory of emulators which image they are of. Raises OSError."""
    with replacing(directory / _ORIGIN) as aside:
        aside.write_text(json.dumps({"images": addresses, "digest": digest}))


def note_use(path: str) -> None:
    """Note that the emulator at `path` is being used, if it is a kept one. Raises OSError if it is gone."""
    directory = Path(path).parent
    if directory.parent.name != KEPT_DIRECTORY or not (directory / _ORIGIN).exists():
        return
    if directory.stat().st_mtime < time.time() - _NOTED_SECONDS:
        os.utime(directory)
