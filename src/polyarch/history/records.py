"""The records of builds that are kept here, found by name, by age, and by what they say."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch.digest import Digest, hex_of
from polyarch.errors import InputError, IntegrityError, InvalidDigest, NotFound
from polyarch.history.form import read_record
from polyarch.history.record import BuildError, BuildRecord, Code
from polyarch.history.recording import remove_record
from polyarch.history.status import events_of
from polyarch.oci.fields import read_document
from polyarch.pattern import pattern
from polyarch.progress import Event
from polyarch.record import replace

__all__ = ["IMPORTED", "History", "is_ref"]

IMPORTED = ".imported"
"""The builder of records that came from another machine; they are in every builder's list."""

_REF = pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_OFFSET = pattern(r"\^[+-]?[0-9]+\Z")


def is_ref(text: str) -> bool:
    """Tell whether a text can be the name of a build, and so of its files."""
    return _REF.match(text) is not None


class History:
    """The records in a directory, of one builder or, with "", of all."""

    def __init__(self, directory: Path, builder: str = "") -> None:
        self._directory = directory
        self._builder = builder

    def all(self) -> tuple[BuildRecord, ...]:
        """Return the records, the last build first. What can't be read isn't among them."""
        found = [record for ref in self._refs() if (record := self._read(ref)) is not None]
        return tuple(sorted(found, key=lambda record: record.created, reverse=True))

    def get(
        self, name: str = "", *, matches: Callable[[BuildRecord], bool] | None = None
    ) -> BuildRecord:
        """Return a record by its name.

        `name` is a build's, with or without its builder and node before it, `^N` for the Nth before the last, or "" for the last. Raises NotFound.
        """
        if _OFFSET.match(name) or not name:
            records = [each for each in self.all() if matches is None or matches(each)]
            return _before_last(records, int(name[1:] or "0"))
        if name.startswith("^"):
            raise InputError(f"invalid offset {name!r}", hint="^1 is the build before the last")
        record = self._read(name.rpartition("/")[2])
        if (
            record is None
            or name not in {record.ref, record.full_ref}
            or not (matches is None or matches(record))
        ):
            raise NotFound(
                f'no record found for ref "{name}"', hint="polyarch history ls lists them"
            )
        return record

    def events(self, record: BuildRecord) -> Iterator[tuple[float, Event]]:
        """Give the events of a build as `events_of` does, as far as it has come. Raises NotFound, IntegrityError."""
        try:
            data = self.logs(record).read_bytes()
        except OSError as error:
            raise NotFound(
                f"the logs of build {record.ref} aren't there: {error.strerror}"
            ) from error
        yield from events_of(data)

    def logs(self, record: BuildRecord) -> Path:
        """Return the file that has a build's events."""
        return self._directory / f"{record.ref}.log"

    def blob(self, record: BuildRecord, digest: Digest) -> Path:
        """Return the file that has what came with a record of another machine; it need not be there."""
        return self._directory / f"{record.ref}.blobs" / hex_of(digest)

    def remove(self, record: BuildRecord) -> None:
        """Forget a build. Raises InputError while it goes on."""
        if record.completed is None:
            raise InputError(f"build {record.ref} is still running", hint="end it, then remove it")
        remove_record(self._directory, record.ref)

    def _refs(self) -> list[str]:
        with suppress(OSError):
            names = os.listdir(self._directory)
            return [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return []

    def _read(self, ref: str) -> BuildRecord | None:
        if not is_ref(ref):
            return None
        try:
            data = (self._directory / f"{ref}.json").read_bytes()
            record = read_record(read_document(data))
        except (OSError, IntegrityError, InvalidDigest):
            return None  # removed meanwhile, or written by a program of another version
        if record.ref != ref or (self._builder and record.builder not in {self._builder, IMPORTED}):
            return None
        return record if record.completed is not None else self._living(record)

    def _living(self, record: BuildRecord) -> BuildRecord:
        """Return a record that wasn't completed as it is if its process lives, else as that of a build that was killed."""
        path = self.logs(record)
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                ended = os.fstat(file).st_mtime
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return record
            finally:
                os.close(file)
            # It may have ended between our two looks.
            with suppress(OSError, IntegrityError, InvalidDigest):
                data = path.with_suffix(".json").read_bytes()
                record = read_record(read_document(data))
            if record.completed is not None:
                return record
            killed = BuildError(code=Code.UNKNOWN, message="the process that built was killed")
            return replace(record, completed=ended, error=killed)
        return record


def _before_last(records: Sequence[BuildRecord], number: int) -> BuildRecord:
    """Return the build so many before the last. Raises NotFound."""
    if not records:
        raise NotFound("no records found", hint="builds are recorded as they begin")
    if not 0 <= number < len(records):
        raise NotFound(f"no completed build found with offset {max(number - len(records), 1)}")
    return records[number]
