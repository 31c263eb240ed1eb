"""Emulators from an image: fetched when a step needs one that this machine doesn't have, and kept.

The image is `tonistiigi/binfmt`, or whatever `POLYARCH_QEMU_IMAGE` or a builder's option `qemu-image` names: a
name with or without a digest, or `oci-layout://DIRECTORY`. It is fetched as any base image is (mirrors,
credentials, digests), and of its files only the emulators are kept, all of them, so that the next platform
needs no network.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from polyarch.digest import Digest, hex_of
from polyarch.emulation.binfmt import HANDLERS, get_handler
from polyarch.emulation.kept import (
    IMAGE_VARIABLE,
    KEPT_DIRECTORY,
    KeptEmulators,
    all_kept,
    emulator_image,
    find_kept,
    write_origin,
)
from polyarch.emulation.qemu import program_names
from polyarch.errors import NoEmulator, NotFound, PolyarchError
from polyarch.images.store_place import Fetcher
from polyarch.layer.compress import decompressed
from polyarch.layer.tar import FILE
from polyarch.layer.tarread import Limits, TarReader
from polyarch.oci.base import BaseImage
from polyarch.platforms import Platform, host
from polyarch.progress import CancelToken, Step, cancellable, step
from polyarch.record import field, mutable
from polyarch.runtime.foreign import ForeignSteps
from polyarch.store.trouble import store_trouble
from polyarch.worker.source_image import ImageSource

__all__ = ["FetchedEmulators", "fetch_emulators"]

_LIMITS = Limits(size=4 << 30, entries=1 << 16)
"""The largest of such images unpack to 200 MB."""
_NAMES = frozenset(name for handler in HANDLERS for name in program_names(handler))


@mutable
class FetchedEmulators:
    """What knows which platforms can be emulated, and fetches what is missing; the gate's `Emulators`."""

    foreign: ForeignSteps
    images: ImageSource
    cancel: CancelToken
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _trouble: PolyarchError | None = None

    def unrunnable(self, platforms: Iterable[Platform], /) -> list[Platform]:
        """Return those of `platforms` whose steps can't run with what is here."""
        return self.foreign.unrunnable(platforms)

    def fetch(self, platforms: Iterable[Platform], /) -> list[Platform]:
        """Fetch emulators if any of `platforms` lacks one; return those that can't run even so."""
        wanted = list(platforms)
        may_fetch = emulator_image(self.environ) != ""
        if may_fetch and any(map(self.foreign.lacks_emulator, wanted)):
            try:
                fetch_emulators(self.images, self.environ, self.cancel)
                self._trouble = self._what_is_missing(wanted)
            except PolyarchError as error:
                self.cancel.check()
                self._trouble = error
        return self.foreign.unrunnable(wanted)

    def _what_is_missing(self, wanted: Iterable[Platform]) -> NotFound | None:
        """Say which emulators the image doesn't have either."""
        missing = [each.architecture for each in wanted if self.foreign.lacks_emulator(each)]
        if not missing:
            return None
        names = ", ".join(get_handler(each).entry for each in dict.fromkeys(missing))
        return NotFound(f"{emulator_image(self.environ)} has no {names}")

    def require(self, platform: Platform) -> None:
        """Get what steps for `platform` need. Raises NoEmulator."""
        if self.unrunnable([platform]) and self.fetch([platform]):
            raise self.no_emulator([platform])

    def no_emulator(self, platforms: Sequence[Platform], /) -> NoEmulator:
        """Return the error that names all of `platforms`, none of which can run here."""
        error = self.foreign.no_emulator(platforms)
        if self._trouble is None:
            return error
        return NoEmulator(
            f"{error}: no emulator is installed, and none can be fetched: {self._trouble}",
            hint=f"{error.hint}; or let {IMAGE_VARIABLE} name an image that can be reached "
            "(where there is no network: oci-layout://DIRECTORY)",
        )


def fetch_emulators(
    images: ImageSource, environ: Mapping[str, str], cancel: CancelToken, *, anew: bool = False
) -> KeptEmulators:
    """Fetch the emulators of the configured image unless they are kept; once for all processes.

    With `anew` the registry is asked what the image's name stands for now. Raises NotFound if no image may be
    asked or it has no emulator, and what fetching an image raises.
    """
    address = emulator_image(environ)
    if not address:
        raise NotFound(f"{IMAGE_VARIABLE}=none", hint="let it name an image, or unset it")
    store = images.store
    with store.locks.exclusive("fetch-emulators", check=cancel.check):
        known = None if anew else find_kept(store.root, address)
        if known is not None:
            return known
        image = images.resolver(cancel, pull=anew).resolve(address, host())
        with step(images.sink, f"[internal] load emulators of {address}") as shown:
            _keep(images, image, address, cancel, shown)
    kept = find_kept(store.root, address)
    assert kept is not None
    return kept


def _keep(
    images: ImageSource, image: BaseImage, address: str, cancel: CancelToken, shown: Step
) -> None:
    """Keep an image's emulators under its digest, or note that those of another name are the same."""
    store = images.store
    target = store.root / KEPT_DIRECTORY / hex_of(image.digest)
    known = next((each for each in all_kept(store.root) if each.directory == target), None)
    with store_trouble("keep emulators in", target):
        if known is not None:
            write_origin(target, known.digest, (*known.addresses, address))
            return
        aside = store.temporary("emulators")
        aside.mkdir()
        for blob in image.blobs:
            fetcher = Fetcher(
                store=store,
                places=images.places(cancel),
                cancel=cancel,
                shown=shown,
                bound=images.fetching,
            )
            fetcher.ensure(blob, (image.source,))
            with cancellable(cancel):
                _extract(images, blob.digest, aside)
        if not any(aside.iterdir()):
            raise NotFound(
                f"{address} holds no emulator: none of its files is called qemu-aarch64 or the like",
                hint=f"let {IMAGE_VARIABLE} name an image as tonistiigi/binfmt is",
            )
        write_origin(aside, image.digest, (address,))
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if target.exists():
            store.discard(target)  # not whole, or it would be known
        aside.rename(target)


def _extract(images: ImageSource, blob: Digest, directory: Path) -> None:
    """Write the emulators of a layer into a directory, by their names alone: nothing else gets out."""
    with images.store.blobs.open(blob) as stream, decompressed(stream) as tar:
        reader = TarReader(tar, limits=_LIMITS, stop_at_mark=True)
        for entry in reader:
            name = os.path.basename(entry.name)
            if entry.kind != FILE or name not in _NAMES:
                continue
            # Whoever may not read its interpreter isn't the owner of its own /proc/self.
            file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755)
            try:
                reader.write_to(file, entry)
                os.fchmod(file, 0o755)
            finally:
                os.close(file)
