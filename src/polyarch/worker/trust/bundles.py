"""The bundle of CAs of a root file system, with more of them for the time of a step.

The CAs are put behind what the file holds and taken out again, wherever they are by then, before anybody looks what the step has
changed. A mount over the file was rejected: `update-ca-certificates`, which every other Dockerfile of a company runs, renames
a new file into its place, which can't be done where something is mounted. Times, modes and owners stay: a file that
was lent is the same as before, and a layer has what isn't the same only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from polyarch.errors import InputError, MachineError
from polyarch.inotify import Renewals
from polyarch.inroot import open_regular, resolve
from polyarch.record import frozen
from polyarch.worker.trust.pem import certificates, encoded

__all__ = ["BUNDLES", "lending", "read_bundle"]

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora and its kin
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",  # openSUSE
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions have all CAs in one file; several of these may be one."""
_NAMES = {name.rpartition("/")[2] for name in BUNDLES}
_LIMIT = 16 << 20


@frozen
class _Lent:
    """What was put into a bundle."""

    name: str
    block: bytes


@contextmanager
def _opened(root: Path, name: str, *, writes: bool) -> Iterator[int]:
    """Open a file of a root. Raises OSError, InputError for what is no regular file."""
    file = open_regular(name, root=root, writes=writes)
    try:
        yield file
    finally:
        os.close(file)


def _read(file: int) -> bytes:
    size = os.fstat(file).st_size
    return os.pread(file, size, 0) if size <= _LIMIT else b""


def read_bundle(root: Path) -> tuple[bytes, ...]:
    """Return the CAs of a root file system, none if it has no bundle."""
    for name in BUNDLES:
        with suppress(OSError, InputError), _opened(root, name, writes=False) as file:
            if found := certificates(_read(file).decode("latin-1")):
                return found
    return ()


@contextmanager
def lending(root: Path, more: Sequence[bytes]) -> Iterator[None]:
    """Have CAs in the bundles of a root for as long as the block lasts; nobody may be at work there before or after.

    A bundle that is made anew in the meantime gets them again, as soon as it is whole.
    """
    lent = _lend(root, more)
    try:
        with _kept(root, more, lent):
            yield
    finally:
        _give_back(root, lent)


@contextmanager
def _kept(root: Path, more: Sequence[bytes], lent: list[_Lent]) -> Iterator[None]:
    """Add to what was lent whenever a bundle is made anew, for as long as the block lasts."""
    with ExitStack() as stack:
        try:
            renewals = stack.enter_context(Renewals())
        except MachineError:
            # Too many listen already: variables are all that such a step has then.
            yield
            return
        _watch(root, renewals)
        reader, writer = os.pipe()
        keeper = threading.Thread(
            target=_keep, args=(root, more, lent, renewals, reader), name="bundles"
        )
        keeper.start()
        try:
            yield
        finally:
            os.write(writer, b"-")
            keeper.join()
            os.close(reader)
            os.close(writer)


def _keep(
    root: Path, more: Sequence[bytes], lent: list[_Lent], renewals: Renewals, stop: int
) -> None:
    """Lend to bundles that are made anew, until `stop` can be read."""
    for names in renewals.until(stop):
        if names & _NAMES:
            lent += _lend(root, more)
        _watch(root, renewals)


def _watch(root: Path, renewals: Renewals) -> None:
    """Listen to the directories that bundles are in, or the nearest ones above them."""
    for name in BUNDLES:
        directory = os.path.dirname(name)
        while directory != "/":
            with suppress(OSError, InputError):
                place = resolve(root, directory)
                if place.is_dir():
                    renewals.watch(place)
                    break
            directory = os.path.dirname(directory)
        else:
            renewals.watch(root)


def _lend(root: Path, more: Sequence[bytes]) -> list[_Lent]:
    """Put CAs into the bundles of a root that don't have them; return what was put where."""
    lent, seen = [], set()
    for name in BUNDLES:
        with suppress(OSError, InputError), _opened(root, name, writes=True) as file:
            status = os.fstat(file)
            if (status.st_dev, status.st_ino) in seen:
                continue
            data = _read(file)
            known = certificates(data.decode("latin-1"))
            block = encoded(each for each in more if each not in known).encode()
            if not known or not block:
                continue
            block = block if data.endswith(b"\n") else b"\n" + block
            _write(file, data + block, status.st_mtime_ns)
            # A copy is made of a file that is changed in an overlay: it has another number now.
            after = os.fstat(file)
            seen |= {(status.st_dev, status.st_ino), (after.st_dev, after.st_ino)}
            lent.append(_Lent(name=name, block=block))
    return lent


def _give_back(root: Path, lent: Sequence[_Lent]) -> None:
    """Take out of a root's bundles what was put into them; who isn't there any more has nothing of it."""
    for each in dict.fromkeys(lent):
        with suppress(OSError, InputError), _opened(root, each.name, writes=True) as file:
            data = _read(file)
            if each.block in data:
                # That of the step, if it changed the file; else what it had at first.
                changed = os.fstat(file).st_mtime_ns
                _write(file, data.replace(each.block, b""), changed)


def _write(file: int, data: bytes, changed: int) -> None:
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))
    os.utime(file, ns=(changed, changed))
