"""Bytes by digest.

A blob is a file `blobs/<algorithm>/<hex>`. It is written to a temporary name in this process' scratch
directory, hashed on the way, checked, and then renamed; so a blob that can be seen is whole, whatever
was killed when. Two writers of the same blob don't know of each other: the later rename replaces
equal bytes by equal bytes, and readers keep the file that they opened.

By default nothing is synced to the disk. A rename is atomic for every process of a running machine,
which is what `kill -9` asks for. After a power failure a file may be short; all of it can be fetched
or built again, readers that know the size (a descriptor says it) notice a short file in `has` and
drop it, and a build is not made to wait for the disk. `sync=True` is for those who prefer that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from polyarch.digest import Digest, fits, hasher, hex_of, parse_digest, sha256
from polyarch.errors import IntegrityError, NotFound
from polyarch.oci.descriptor import DOCUMENT_LIMIT
from polyarch.store.trouble import store_error, store_trouble

__all__ = ["BlobWriter", "Blobs"]


_LARGE = 1 << 20
_DAMAGED = "the transfer was cut short or the source is damaged; try again"


class BlobWriter:
    """A blob on its way in: write, leave the `with` block, then ask for `digest` and `size`.

    An exception inside the block throws away what was written.
    """

    def __init__(
        self, blobs: Blobs, temporary: Path, expected: Digest | None, size: int | None
    ) -> None:
        self._blobs = blobs
        self._temporary = temporary
        self._expected = expected
        self._expected_size = size
        self._algorithm = expected.partition(":")[0] if expected else "sha256"
        self._hash = hasher(expected or sha256(b""))
        with store_trouble("create", temporary):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.fdopen(os.open(temporary, flags, 0o600), "wb", buffering=0)
        self.size = 0

    @property
    def path(self) -> Path:
        """Where the bytes are while they are written."""
        return self._temporary

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append `data`, all of it; returns its length in bytes.

        Raises StoreError, and IntegrityError as soon as there are more bytes than promised.
        """
        if self._expected_size is not None and self.size + len(data) > self._expected_size:
            raise IntegrityError(
                f"{self._expected or 'the blob'} has more than the {self._expected_size} bytes "
                "that were promised",
                hint=_DAMAGED,
            )
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise store_error(error, "write the blob", self._temporary) from error
        self.size += len(data)
        return len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with store_trouble("write the blob", self._temporary), self._file:
                if kind is None and self._blobs.sync:
                    os.fsync(self._file.fileno())
            if kind is None:
                self._check()
                self._blobs.adopt(self._temporary, self.digest)
                if self.size >= _LARGE:
                    self._blobs.on_large()
        finally:
            with suppress(FileNotFoundError):
                self._temporary.unlink()

    def _check(self) -> None:
        if self._expected_size is not None and self.size != self._expected_size:
            raise IntegrityError(
                f"{self._expected or 'the blob'} has {self.size} bytes instead of "
                f"{self._expected_size}",
                hint=_DAMAGED,
            )
        if self._expected is not None and self.digest != self._expected:
            raise IntegrityError(
                f"the bytes of {self._expected} have the digest {self.digest}",
                hint="the source is damaged; fetch or build it again",
            )


class Blobs:
    """The blobs of a store. Safe to use from many threads and processes at once."""

    def __init__(
        self,
        root: Path,
        *,
        temporary: Callable[[], Path],
        sync: bool = False,
        keep: Callable[[Digest], None] = lambda _: None,
    ) -> None:
        """Use the directory `root`; `temporary` names a fresh file on the same file system.

        `keep` is told of each blob before anybody looks whether it is here, and before it comes: the place to lease
        it. What was found then stays.
        """
        self.root = root
        self.sync = sync
        self._temporary = temporary
        self._keep = keep
        self.on_large: Callable[[], None] = lambda: None
        """Called after a large blob has come: the store may be too large now."""

    def path(self, digest: Digest) -> Path:
        """Return where the blob lies, or would lie. Raises InvalidDigest."""
        return self.root / parse_digest(digest).partition(":")[0] / hex_of(digest)

    def has(self, digest: Digest, *, size: int | None = None) -> bool:
        """Return whether the blob is here; one of another size than `size` isn't, and goes if it is damaged."""
        found = self.find_size(digest)
        if found is not None and size is not None and found != size:
            # Whoever says the size may be wrong as well, and other images may have the blob.
            if not self.is_sound(digest):
                self.remove(digest)
            return False
        return found is not None

    def find_size(self, digest: Digest) -> int | None:
        """Return the size of the blob in bytes, or None if it isn't here."""
        self._keep(digest)
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            return None

    def size(self, digest: Digest) -> int:
        """Return the size of the blob in bytes. Raises NotFound."""
        size = self.find_size(digest)
        if size is None:
            raise _missing(digest)
        return size

    def open(self, digest: Digest) -> BinaryIO:
        """Open the blob for reading, unbuffered and unverified. Raises NotFound, StoreError."""
        self._keep(digest)
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError as error:
            raise _missing(digest) from error
        except OSError as error:
            raise store_error(error, "read the blob", self.path(digest)) from error

    def read(self, digest: Digest, limit: int = DOCUMENT_LIMIT) -> bytes:
        """Return the bytes of a document, verified.

        Raises NotFound, and IntegrityError if it has more than `limit` bytes or is damaged.
        """
        with self.open(digest) as file, store_trouble("read the blob", digest):
            if os.fstat(file.fileno()).st_size > limit:
                raise IntegrityError(f"{digest} is larger than the {limit} bytes that are allowed")
            data = b"".join(iter(lambda: file.read(1 << 20), b""))
        if not fits(data, digest):
            raise IntegrityError(
                f"the blob {digest} in the store is damaged",
                hint="'polyarch doctor --repair' removes it; then build again",
            )
        return data

    def is_sound(self, digest: Digest) -> bool:
        """Read the blob, and return whether its bytes are those of its name; one that isn't here is no damage."""
        self._keep(digest)
        try:
            with (
                store_trouble("read the blob", digest),
                open(self.path(digest), "rb", buffering=0) as file,
            ):
                found = hashlib.file_digest(file, lambda: hasher(digest))
        except FileNotFoundError:
            return True
        return found.hexdigest() == hex_of(digest)

    def put(self, data: bytes, expected: Digest | None = None) -> Digest:
        """Store `data`, a document, and return its digest. Raises IntegrityError if it isn't `expected`.

        A blob that is there already stays: to read a document takes microseconds, but a rename over a
        file makes ext4 write the new one to the disk at once.
        """
        digest = sha256(data)
        self._keep(digest)
        if expected in (None, digest):
            with suppress(OSError), open(self.path(digest), "rb", buffering=0) as file:
                if file.readall() == data:
                    return digest
        with self.writer(expected) as writer:
            writer.write(data)
        return writer.digest

    def writer(self, expected: Digest | None = None, *, size: int | None = None) -> BlobWriter:
        """Return a writer; use it in a `with`.

        Leaving the block raises IntegrityError if the bytes aren't those of `expected`, or if there
        aren't `size` of them.
        """
        if expected is not None:
            parse_digest(expected)
        return BlobWriter(self, self._temporary(), expected, size)

    def adopt(self, path: Path, digest: Digest) -> None:
        """Move the file `path`, whose digest the caller has computed, into the store.

        `path` must be on the store's file system: use the store's scratch directory.
        """
        target = self.path(digest)
        self._keep(digest)
        with store_trouble("store the blob", target):
            try:
                os.rename(path, target)
            except FileNotFoundError:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.rename(path, target)

    def remove(self, digest: Digest) -> None:
        """Remove the blob if it is here. Those who have it open can read on."""
        with store_trouble("remove the blob", self.path(digest)), suppress(FileNotFoundError):
            os.unlink(self.path(digest))

    def __iter__(self) -> Iterator[tuple[Digest, int]]:
        """Give each blob with its size in bytes, in no order."""
        with store_trouble("list the blobs", self.root):
            for directory in list(os.scandir(self.root)):
                for entry in list(os.scandir(directory.path)):
                    with suppress(FileNotFoundError):
                        yield Digest(f"{directory.name}:{entry.name}"), entry.stat().st_size


def _missing(digest: Digest) -> NotFound:
    return NotFound(
        f"the blob {digest} isn't in the store", hint="pull or build the image that needs it again"
    )
