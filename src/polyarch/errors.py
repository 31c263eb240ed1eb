"""Every error that leaves the program, as a tree, by whose fault it is.

    PolyarchError               exit status 1 unless said otherwise; `retryable`: the same again may do later
    ├── InputError              the user's: a value, a file or a flag that can't be used
    │   ├── DockerfileError     ... with the place in the Dockerfile
    │   ├── BakeFileError       ... with the place in the bake file
    │   ├── InvalidReference, InvalidPlatform, InvalidDigest
    │   └── NotFound            a name that stands for nothing here
    ├── MachineError            this machine's: something is missing or forbidden
    │   ├── NoRuntime, NoEmulator, NamespaceForbidden
    │   └── StoreError          the store can't be read or written (a full disk, say)
    ├── RemoteError             another machine's, with the status of HTTP; `temporary`: trying again may help
    │   └── RegistryError       ... with the codes of the distribution spec (76, or 77 for who may not)
    │       └── Unanswered      ... which didn't answer at all (69)
    │           └── OutOfReach  ... as nobody was there
    ├── StepFailed              a step of the build ended with a status other than 0
    ├── IntegrityError          bytes that aren't what their digest says
    │   └── InvalidLayer        an archive that can't be unpacked safely
    ├── Cancelled               the user's wish (130)
    └── InternalError           ours: a bug; asks for a report (70)

An error's text says what is wrong, with the value; `hint` says what to do next; `place` says where,
when it is in a text. Only the command line prints them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = [
    "REMOTE_STATUSES",
    "BakeFileError",
    "Cancelled",
    "ContextNotFound",
    "DockerfileError",
    "InputError",
    "IntegrityError",
    "InternalError",
    "InvalidDigest",
    "InvalidLayer",
    "InvalidPlatform",
    "InvalidReference",
    "MachineError",
    "NamespaceForbidden",
    "NoEmulator",
    "NoRuntime",
    "NotFound",
    "OutOfReach",
    "Place",
    "PolyarchError",
    "RegistryError",
    "RemoteError",
    "StepFailed",
    "StoreError",
    "Unanswered",
    "about_blob",
]


class Place(Protocol):
    """Where in a source text; `polyarch.graph.location.Location` is one."""

    @property
    def line(self) -> int:
        """The first line, counted from 1."""

    def excerpt(self) -> str:
        """The lines around the place, those of the place marked, ending with a newline."""


class PolyarchError(Exception):
    """What all errors of polyarch have in common."""

    exit_status = 1
    told: tuple[str, ...] = ()
    """Lines that others have to say of it, as a policy; they are shown first."""
    blob: str = ""
    """The digest of the blob that couldn't be had, if that is what is wrong."""

    def __init__(self, message: str, *, hint: str = "", place: Place | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.place = place

    @property
    def retryable(self) -> bool:
        """Whether the same command may do a little later."""
        return False

    @property
    def line(self) -> int | None:
        """The line of the source text that the error is about, counted from 1."""
        return self.place.line if self.place is not None else None


class InputError(PolyarchError, ValueError):
    """Something that the user gave can't be used."""


class DockerfileError(InputError):
    """A Dockerfile that doesn't parse, or asks for what can't be."""


class BakeFileError(InputError):
    """A bake file that doesn't parse, or asks for what can't be."""


class InvalidReference(InputError):
    """A text that is no image reference."""


class InvalidPlatform(InputError):
    """A text that is no platform."""


class InvalidDigest(InputError):
    """A text that is no digest."""


class NotFound(InputError):
    """A name that stands for nothing: an image, a builder, a file, a stage."""


class ContextNotFound(NotFound):
    """A build context that isn't there, or is no directory."""


class MachineError(PolyarchError):
    """This machine lacks or forbids something."""


class NoRuntime(MachineError):
    """No container runtime works here."""


class NoEmulator(MachineError):
    """A step is for a CPU that can neither be run nor emulated here."""


class NamespaceForbidden(MachineError):
    """The kernel or an administrator refuses user namespaces, or a mount in one."""


class StoreError(MachineError):
    """The store can't be read or written."""


class RemoteError(PolyarchError):
    """Another machine didn't do what it was asked for.

    `status` is that of HTTP, 0 if there was no answer at all; `temporary` tells that another time may help.
    `wait` is for how many seconds it asked to be left alone, 0 if it didn't.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        place: Place | None = None,
        status: int = 0,
        temporary: bool = False,
        passing: bool = False,
        wait: float = 0.0,
    ) -> None:
        super().__init__(message, hint=hint, place=place)
        self.status = status
        self.temporary = temporary
        self.passing = passing
        self.wait = wait

    @property
    def retryable(self) -> bool:
        """Whether the same command may do a little later: `temporary`, or worth no second attempt at once (`passing`)."""
        return self.temporary or self.passing


_NO_ANSWER = 69
_WRONG_ANSWER = 76
_NO_ENTRY = 77
REMOTE_STATUSES = frozenset({_NO_ANSWER, _WRONG_ANSWER, _NO_ENTRY})
"""Exit statuses of what went wrong at a registry, as `sysexits.h` has them for a service that isn't available, for
protocols and for lacking rights."""


class RegistryError(RemoteError):
    """A registry's refusal, with the codes of the distribution spec that it gave.

    Programs are told by the exit status who has to do something: 77 who the user is isn't enough, 69 the registry
    can't be reached, 76 it answers, but not with what was asked for.
    """

    exit_status = _WRONG_ANSWER

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int = 0,
        codes: tuple[str, ...] = (),
        temporary: bool = False,
        passing: bool = False,
        wait: float = 0.0,
    ) -> None:
        super().__init__(
            message, hint=hint, status=status, temporary=temporary, passing=passing, wait=wait
        )
        self.codes = codes
        if status in {401, 403}:
            self.exit_status = _NO_ENTRY


class Unanswered(RegistryError):
    """A registry can't be reached, or hung up."""

    exit_status = _NO_ANSWER


class OutOfReach(Unanswered):
    """Nobody was there: no such name, no way, no answer; or the network isn't to be used."""


class StepFailed(PolyarchError):
    """A step ended with a status other than 0. `tail` holds the last lines that it printed."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        place: Place | None = None,
        status: int = 1,
        tail: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, place=place)
        self.status = status
        self.tail = tail


class IntegrityError(PolyarchError):
    """Bytes whose digest or size isn't the promised one."""


class InvalidLayer(IntegrityError):
    """A layer archive that is damaged, or that tries to leave the root."""


class Cancelled(PolyarchError):
    """The user, or a sibling's failure, ended the work."""

    exit_status = 130


class InternalError(PolyarchError):
    """A bug of polyarch's."""

    exit_status = 70


@contextmanager
def about_blob(digest: str) -> Iterator[None]:
    """Note in what goes wrong in the block, with other machines or with bytes, that it was about this blob."""
    try:
        yield
    except (NotFound, RemoteError, IntegrityError) as error:
        error.blob = digest
        raise
