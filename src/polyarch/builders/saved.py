"""Builders kept in files, in the form that docker buildx has for its own.

    .lock               who changes something holds a lock on it
    current             which builder is used, and at which docker endpoint that was said
    defaults/<hash>     which builder is used at an endpoint where nothing else was said
    instances/<name>    a builder, as JSON
    activity/<name>     when it was used last, RFC 3339
    refs/<builder>/<node>/<build>    what a build was of; always in the directory of docker buildx, as
                                     programs that show builds look there

polyarch's own are in a directory of its own. Builders that docker buildx can use as well lie among its own, whoever made
them, and either may change and remove them; those with a driver that only buildx has are read, and left alone. Where
polyarch stands in for docker buildx, as docker's plugin, it is the other way round: new builders lie in
buildx's directory, in a form that buildx reads as well (`node.builderform`), and what was chosen there holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from polyarch.builders.contexts import context_builders
from polyarch.builders.form import decode, encode, encode_for_buildx
from polyarch.builders.values import DEFAULT_NAME, SavedBuilder, default_builder
from polyarch.errors import InputError, IntegrityError, MachineError, NotFound
from polyarch.golang.json import compact
from polyarch.oci.fields import read_document
from polyarch.paths import (
    builders_directory,
    buildx_directory,
    docker_config_directory,
    replacing,
    stands_in_for_buildx,
)
from polyarch.record import replace
from polyarch.store.trees import remove_tree

__all__ = ["SavedBuilders", "docker_endpoint"]

_DOCKER_SOCKET = "unix:///var/run/docker.sock"


def docker_endpoint(environ: Mapping[str, str]) -> str:
    """Return what docker buildx calls the current endpoint: the context, or the address."""
    context = environ.get("DOCKER_CONTEXT", "")
    host = environ.get("DOCKER_HOST", "")
    if not context and not host:
        with contextlib.suppress(OSError, IntegrityError):
            data = (docker_config_directory(environ) / "config.json").read_bytes()
            context = read_document(data).text("currentContext")
    if context and context != DEFAULT_NAME:
        return context
    return host or _DOCKER_SOCKET


class SavedBuilders:
    """The builders of a user. Reading never writes; each change is one locked step."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._buildx = buildx_directory(environ)
        self._directories = (builders_directory(environ), self._buildx)
        if stands_in_for_buildx(environ):
            self._directories = self._directories[::-1]
        self.directory = self._directories[0]
        self._references = self._buildx / "refs"
        self._key = docker_endpoint(environ)
        self._named = environ.get("BUILDX_BUILDER", "")
        self._owner = _sudo_user(environ)
        self._environ = environ

    # --- reading ---

    def all(self) -> tuple[SavedBuilder, ...]:
        """Return all builders, by name, `default` among them. Raises IntegrityError."""
        found = {**context_builders(self._environ), DEFAULT_NAME: default_builder()}
        for directory in self._directories:
            for name in _list(directory / "instances"):
                known = found.get(name)
                if (known is None or known.is_context) and not name.startswith("."):
                    found[name] = self._read(directory, name)
        return tuple(self._with_activity(found[name]) for name in sorted(found))

    def find(self, name: str) -> SavedBuilder | None:
        """Return the builder called `name`, or None. Raises IntegrityError if its file is damaged."""
        lower = name.lower()
        if lower == DEFAULT_NAME:
            return self._with_activity(default_builder())
        directory = self._home(lower)
        if directory is not None:
            return self._with_activity(self._read(directory, lower))
        context = context_builders(self._environ).get(name)
        return None if context is None else self._with_activity(context)

    def get(self, name: str) -> SavedBuilder:
        """Return the builder called `name`; "" for the current one. Raises NotFound."""
        name = name or self._named
        if not name:
            return self.current()
        builder = self.find(name)
        if builder is None:
            raise NotFound(f'no builder "{name}" found', hint="polyarch ls lists the builders")
        return builder

    def current(self) -> SavedBuilder:
        """Return the builder that was chosen last, whatever the environment says; one that is gone is not.

        Who hasn't chosen one of polyarch's builders may have chosen one of docker buildx's.
        """
        return self._current()[0]

    def is_own_choice(self) -> bool:
        """Tell whether the current builder was chosen here, and not with docker buildx for its own builds."""
        return self._current()[1] == self.directory

    def _current(self) -> tuple[SavedBuilder, Path]:
        """Return the current builder, and the directory that says so."""
        for directory in self._directories:
            for name in self._choices(directory):
                builder = self.find(name)
                if builder is not None:
                    return builder, directory
        return self._with_activity(default_builder()), self.directory

    def _home(self, name: str) -> Path | None:
        """Return the directory that has the builder called `name`."""
        homes = (
            directory for directory in self._directories if name in _list(directory / "instances")
        )
        return next(homes, None)

    def _own_home(self, name: str) -> Path | None:
        """Return the directory that has a builder called `name` that may be changed here."""
        directory = self._home(name)
        if directory is None or self._read(directory, name).is_foreign:
            return None
        return directory

    def hides(self, builder: SavedBuilder) -> bool:
        """Tell whether one of ours may have the name of `builder`, which is docker buildx's.

        Where we stand in for docker buildx, both lie in one directory, and it may not.
        """
        return builder.is_foreign and self.directory != self._buildx

    def _choices(self, directory: Path) -> Iterator[str]:
        """Give what was chosen in `directory`, what stands for it if that is gone, first."""
        chosen = self._chosen(directory)
        standing = self._read_text(self._default_file(directory))
        yield from filter(None, (chosen, standing))
        if chosen == "":
            yield DEFAULT_NAME

    def _chosen(self, directory: Path) -> str | None:
        """Return what was chosen, "" for none of the builders, None if nothing was."""
        text = self._read_text(directory / "current")
        if not text:
            return None
        try:
            fields = read_document(text.encode())
            holds = fields.flag("Global") or fields.text("Key") == self._key
            return fields.text("Name") if holds else None
        except IntegrityError:
            # A torn file of an old crash; choosing anew fixes it.
            return None

    def _default_file(self, directory: Path) -> Path:
        name = hashlib.sha256(self._key.encode()).hexdigest()[:20]
        return directory / "defaults" / name

    @staticmethod
    def _read_text(path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise MachineError(f"can't read {path}: {error.strerror}") from error

    def _read(self, directory: Path, name: str) -> SavedBuilder:
        path = directory / "instances" / name
        text = self._read_text(path)
        try:
            builder = decode(text.encode())
        except IntegrityError as error:
            raise IntegrityError(
                f"{path} isn't a builder: {error}", hint=f"remove it with rm {path}"
            ) from error
        is_ours = builder.is_local or builder.is_known_to_buildx
        is_foreign = directory == self._buildx and not is_ours
        return replace(builder, name=name, is_foreign=is_foreign)

    def _with_activity(self, builder: SavedBuilder) -> SavedBuilder:
        texts = (
            self._read_text(directory / "activity" / builder.name)
            for directory in self._directories
        )
        return replace(builder, last_activity=next(filter(None, texts), ""))

    # --- changing ---

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Hold the lock under which builders are read and changed. Raises MachineError."""
        with contextlib.ExitStack() as stack:
            # Both in one order, or two that hold one each would wait for ever.
            for directory in sorted(self._directories):
                if directory == self.directory or (directory / ".lock").exists():
                    stack.enter_context(self._locked(directory))
            yield

    @contextlib.contextmanager
    def _locked(self, directory: Path) -> Iterator[None]:
        path = directory / ".lock"
        try:
            self._make_directory(directory)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MachineError(f"can't write {path}: {error.strerror}") from error
        try:
            self._give(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def save(self, builder: SavedBuilder) -> None:
        """Write a builder, where it was. Raises InputError for one of docker buildx's, MachineError."""
        self._refuse_foreign(builder)
        home = self._own_home(builder.name)
        directory = self.directory if home is None else home
        if builder.is_known_to_buildx:
            directory = self._buildx
        elif builder.is_remote and directory == self._buildx and directory != self.directory:
            # This machine has become one of its nodes.
            directory = self.directory
        is_shared = directory == self._buildx
        data = encode_for_buildx(builder, self._key) if is_shared else encode(builder)
        self._write(directory / "instances" / builder.name, data)
        if home is not None and home != directory:
            self._unlink(home / "instances" / builder.name)

    def remove(self, builder: SavedBuilder) -> None:
        """Forget a builder. Raises InputError for one of docker buildx's, MachineError."""
        self._refuse_foreign(builder)
        directory = self._own_home(builder.name) or self.directory
        kept = (directory / "instances", directory / "activity", self.directory / "activity")
        for path in (each / builder.name for each in kept):
            self._unlink(path)
        with contextlib.suppress(OSError):
            remove_tree(self._references / builder.name)

    @staticmethod
    def _unlink(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise MachineError(f"can't remove {path}: {error.strerror}") from error

    def use(self, name: str, *, is_default: bool = False, is_global: bool = False) -> None:
        """Make a builder the current one; `is_default` also for when the choice is gone."""
        chosen = "" if name == DEFAULT_NAME else name
        record = {"Key": self._key, "Name": chosen, "Global": is_global}
        self._write(self.directory / "current", compact(record))
        if is_default:
            self._write(self._default_file(self.directory), name.encode())
        else:
            with contextlib.suppress(FileNotFoundError):
                self._default_file(self.directory).unlink()

    def touch(self, name: str) -> None:
        """Remember that a builder was used just now; losing that is no error."""
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(MachineError):
            self._write(self.directory / "activity" / name, text.encode())

    def note_build(self, reference: str, state: Mapping[str, str]) -> None:
        """Remember what a build is of (`polyarch.request.ref`); losing that is no error.

        `reference` is builder/node/build.
        """
        if all(part.strip(".") for part in reference.split("/")):
            with contextlib.suppress(MachineError):
                self._write(self._references / reference, compact(dict(state)), mode=0o644)

    def noted(self, reference: str) -> dict[str, str]:
        """Return what was remembered of a build by builder/node/build, nothing if that is lost."""
        if not all(part.strip(".") for part in reference.split("/")):
            return {}
        try:
            found = json.loads((self._references / reference).read_bytes())
        except (OSError, ValueError):
            return {}
        return (
            {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}
        )

    def _refuse_foreign(self, builder: SavedBuilder) -> None:
        if builder.is_foreign:
            raise InputError(
                f'builder "{builder.name}" belongs to docker buildx',
                hint="change or remove it with docker buildx, whose machines it may have started",
            )

    def _write(self, path: Path, data: bytes, *, mode: int = 0o600) -> None:
        """Write a file at once: a reader sees the old one or the new one."""
        try:
            self._make_directory(path.parent)
            with replacing(path) as aside:
                aside.write_bytes(data)
                aside.chmod(mode)
                self._give(aside)
        except OSError as error:
            raise MachineError(f"can't write {path}: {error.strerror}") from error

    def _make_directory(self, directory: Path) -> None:
        missing = [each for each in (directory, *directory.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
            self._give(each)

    def _give(self, path: Path) -> None:
        """Under sudo, leave what we write to the user who called us."""
        if self._owner is not None:
            os.chown(path, *self._owner)


def _list(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise MachineError(f"can't read {directory}: {error.strerror}") from error


def _sudo_user(environ: Mapping[str, str]) -> tuple[int, int] | None:
    uid, gid = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not (uid.isdecimal() and gid.isdecimal()):
        return None
    return int(uid), int(gid)
