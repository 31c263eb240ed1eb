"""What a build reads of this machine: the Dockerfile, its ignore file, the build contexts."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.dockerfile.lowering.epoch import SOURCE_DATE_EPOCH
from polyarch.dockerfile.lowering.named import TARGET_SCHEME, context_name
from polyarch.dockerfile.syntax.lexer import decode
from polyarch.errors import ContextNotFound, InputError, NotFound
from polyarch.graph.location import SourceText
from polyarch.inroot import read_small
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.pipeline.company import ALONE, Company
from polyarch.pipeline.directories import Directories, Opened
from polyarch.platforms import host
from polyarch.record import field, frozen
from polyarch.request.values import BuildRequest, is_address
from polyarch.text.ignore import read_patterns
from polyarch.worker.tree import SourceTree

if TYPE_CHECKING:
    from polyarch.pipeline.fetched import Fetched, Fetcher

__all__ = [
    "ContextTrees",
    "Contexts",
    "Loader",
    "MainContext",
    "dockerfile_path",
    "ignore_patterns",
]

DEFAULT_NAME = "Dockerfile"
MAIN_NAME = "context"
MAX_DOCKERFILE = 2 << 20
KEEP_GIT_DIR_ARG = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
FETCH_ARGS = (KEEP_GIT_DIR_ARG, SOURCE_DATE_EPOCH)
"""The build arguments that change what is fetched."""
_WEB = ("http://", "https://")
_NAMED_HINT = (
    "--build-context {name}=... names a directory, a repository, a web address, an image as docker-image://, "
    "or a layout as oci-layout://"
)
_ARCHIVE_MAGICS = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


def _is_archive(data: bytes) -> bool:
    return data.startswith(_ARCHIVE_MAGICS) or _is_tar(data[:512])


def _is_tar(header: bytes) -> bool:
    """Tell whether it is the first header of a tar, of any kind: its checksum is right."""
    try:
        expected = int(header[148:156].rstrip(b"\0 ") or b"-1", 8)
    except ValueError:
        return False
    return len(header) == 512 and expected == sum(header[:148] + b" " * 8 + header[156:])


@frozen
class MainContext:
    """The main build context: a directory of this machine, or something fetched, or nothing at all."""

    directory: Path | None = None
    fetched: Fetched | None = None


class ContextTrees(Mapping[str, SourceTree]):
    """Build contexts by name; those that aren't here are fetched when they are first asked for.

    A build that doesn't use a named context doesn't fetch it. Asking raises as `Fetcher.fetch`.
    """

    def __init__(
        self,
        directories: Mapping[str, SourceTree],
        addresses: Mapping[str, str],
        fetch: Callable[[str], Fetched | None],
    ) -> None:
        self._directories = directories
        self._addresses = addresses
        self._fetch = fetch
        self._lock = threading.Lock()
        self.fetched: dict[str, Fetched] = {}

    def __getitem__(self, name: str) -> SourceTree:
        if name in self._directories:
            return self._directories[name]
        with self._lock:
            if name not in self.fetched:
                address = self._addresses[name]
                found = self._fetch(address)
                if found is None:
                    raise InputError(f"the build context {name} can't be fetched from {address}")
                self.fetched[name] = found
            return self.fetched[name].tree

    def __contains__(self, name: object) -> bool:
        return name in self._directories or name in self.fetched or name in self._addresses

    def __iter__(self) -> Iterator[str]:
        return iter({**self._directories, **self.fetched, **self._addresses})

    def __len__(self) -> int:
        return len(list(iter(self)))


@frozen
class Contexts:
    """The build contexts of a request by name.

    `ignores` says of a path of the main one whether it is left out, where that is certain. `images` are
    the names of those that are images, or results of other builds. `places` tells apart those of several builds.
    """

    trees: ContextTrees
    ignores: Callable[[str], bool] | None = None
    images: frozenset[str] = frozenset()
    places: Mapping[str, str] = field(default_factory=dict)

    def date(self, name: str) -> int | None:
        """Let a context say when the build was made, in seconds; None if it doesn't tell.

        Raises LookupError if there is no context of that name, else as `Fetcher.fetch`.
        """
        name = context_name(name, host(), (*self.trees, *self.images)) or name
        if name in self.images:
            return None
        self.trees[name]
        fetched = self.trees.fetched.get(name)
        return fetched.date() if fetched else None


@frozen
class Loader:
    """Reads what one request names. `fetcher` is made for contexts that aren't directories.

    `company` are other builds, which may name the same.
    """

    request: BuildRequest
    directories: Directories
    empty: Path
    fetcher: Callable[[], Fetcher]
    company: Company = ALONE

    def main(self) -> MainContext:
        """Find the main context, and fetch it if it isn't here. Raises as `Fetcher.fetch`."""
        request = self.request
        if request.context != "-":
            fetched = self._fetched(request.context)
            return MainContext(
                directory=None if fetched else _directory(request.context), fetched=fetched
            )
        # A library's caller may give the Dockerfile alone: "-" for both.
        if request.dockerfile == "-" or not _is_archive(request.stdin):
            if request.dockerfile not in {"", "-"}:
                raise InputError(
                    "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles",
                    hint="standard input is no archive: leave -f out, or send the context as one",
                )
            return MainContext()
        archive = self.fetcher().archive(request.stdin)
        if archive is None:
            raise InputError(
                "standard input is a damaged archive",
                hint="polyarch takes tar, plain or compressed, for instance: tar cz . | polyarch build -",
            )
        return MainContext(fetched=archive)

    def _fetched(self, value: str) -> Fetched | None:
        if not is_address(value):
            return None
        return self.company.fetched(self._key(value), lambda: self.fetcher().fetch(value))

    def _named_fetched(self, address: str) -> Fetched | None:
        key = self._key(address, "named")
        return self.company.fetched(key, lambda: self.fetcher().named(address))

    def _key(self, address: str, kind: str = "main") -> Hashable:
        """Return all that decides on what is fetched from an address, whom it is fetched as included."""
        request = self.request
        args = tuple(request.build_args.get(each, "") for each in FETCH_ARGS)
        agents = *sorted(request.ssh.items()), *sorted(request.ssh_keys.items())
        return kind, address, args, request.secrets, agents

    def dockerfile(self, main: MainContext) -> SourceText:
        """Read the Dockerfile. Raises NotFound, InputError."""
        request = self.request
        if request.dockerfile == "-" or main == MainContext():
            return SourceText(name=DEFAULT_NAME, text=decode(request.stdin))
        if request.dockerfile.startswith(_WEB):
            fetched = self.fetcher().plain(request.dockerfile)
            data = fetched.read(fetched.dockerfile, MAX_DOCKERFILE)
            return self._decoded(data, request.dockerfile)
        # Beside a context that is elsewhere, an absolute path is one of this machine.
        is_here = os.path.isabs(request.dockerfile) and request.context != "-"
        if main.fetched is not None and not is_here:
            return self._of_fetched(main.fetched)
        return self._of_directory(dockerfile_path(main.directory, request))

    def _of_directory(self, path: Path) -> SourceText:
        request = self.request
        try:
            data = _read(path, "Dockerfile")
        except OSError as error:
            raise NotFound(
                f"failed to read dockerfile: open {request.dockerfile or path.name}: "
                f"{(error.strerror or str(error)).lower()}",
                hint=f"looked for {path}; name another one with -f",
            ) from error
        return self._decoded(data, str(path))

    def _of_fetched(self, fetched: Fetched) -> SourceText:
        name = fetched.dockerfile or self.request.dockerfile or DEFAULT_NAME
        directory, base = os.path.split(name)
        lower = os.path.join(directory, base.lower())
        if base == DEFAULT_NAME and not fetched.has(name) and fetched.has(lower):
            name = lower
        data = fetched.read(name, MAX_DOCKERFILE)
        return self._decoded(data, self.request.dockerfile or DEFAULT_NAME)

    @staticmethod
    def _decoded(data: bytes, path: str) -> SourceText:
        return SourceText(name=path.rpartition("/")[2], text=decode(data))

    def contexts(self, main: MainContext) -> Contexts:
        """Find all contexts; nothing of them is read yet. Raises NotFound, InputError."""
        opened: dict[str, Opened] = {}
        if main.directory is not None:
            path = dockerfile_path(main.directory, self.request)
            opened[MAIN_NAME] = self._opened(main.directory, path)
        elif main.fetched is None:
            opened[MAIN_NAME] = self.directories.open(self.empty, ())
        named = self._named()
        for name, directory in named.directories.items():
            opened[name] = self._opened(directory)
        here = {name: each.tree for name, each in opened.items()}
        trees = ContextTrees(here, named.addresses, self._named_fetched)
        if main.fetched is not None:
            trees.fetched[MAIN_NAME] = main.fetched
        matcher = opened[MAIN_NAME].matcher if MAIN_NAME in opened else None
        return Contexts(
            trees=trees,
            ignores=matcher.covers if matcher else None,
            images=frozenset(named.images),
            places=self._places(opened, named) if self.company.has_others else {},
        )

    def _opened(self, directory: Path, dockerfile: Path | None = None) -> Opened:
        return self.directories.open(
            directory, ignore_patterns(directory, dockerfile, self.request)
        )

    def _places(self, opened: Mapping[str, Opened], named: _Named) -> dict[str, str]:
        """Return what tells the contexts from those of other builds."""
        found = {
            name: self.company.place_of(self._key(address, "named"))
            for name, address in named.addresses.items()
        }
        key = self._key(self.request.context) if is_address(self.request.context) else object()
        found[MAIN_NAME] = self.company.place_of(key)
        return {**found, **{name: each.place for name, each in opened.items()}}

    def _named(self) -> _Named:
        """Sort the named contexts by what they are. Raises NotFound, InputError."""
        named = _Named()
        for key, value in self.request.build_contexts.items():
            if value.startswith(IMAGE_SCHEME) or (
                self.company.has_others and value.startswith(TARGET_SCHEME)
            ):
                named.images.append(key)
            elif value.startswith(LAYOUT_SCHEME):
                from polyarch.images.layout import open_layout, parse_layout  # noqa: PLC0415 - seldom

                address = parse_layout(value)
                open_layout(address).load(address.target)
                named.images.append(key)
            elif is_address(value) and not Path(value).is_dir():
                named.addresses[key] = value
            else:
                named.directories[key] = _named_directory(key, value)
        # That name always means the main one.
        named.directories.pop(MAIN_NAME, None)
        named.addresses.pop(MAIN_NAME, None)
        return named


@frozen
class _Named:
    """The named contexts of a request by name, sorted by what they are."""

    directories: dict[str, Path] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)


def _read(path: Path, kind: str) -> bytes:
    """Read a regular file; a link of its name leads no further than its directory.

    So a Dockerfile of somebody else doesn't show what else is on this machine, in errors or in an image.
    Raises InputError for what is no such file or too large for its `kind`, OSError.
    """
    return read_small(path.name, MAX_DOCKERFILE, kind, root=path.parent)


def dockerfile_path(directory: Path | None, request: BuildRequest) -> Path:
    """Return where the Dockerfile of a request is, whose context is in `directory` or elsewhere."""
    path = Path(request.dockerfile) if request.dockerfile else (directory or Path()) / DEFAULT_NAME
    lower = path.with_name(DEFAULT_NAME.lower())
    # `Dockerfile` may be written small, wherever it is.
    return lower if path.name == DEFAULT_NAME and not path.exists() and lower.exists() else path


def _directory(context: str) -> Path:
    scheme, has_scheme, _ = context.partition("://")
    if has_scheme:
        raise InputError(
            f"a build context can't be of the kind {scheme}://",
            hint="name a directory, a repository or a web address",
        )
    path = Path(context)
    if not path.is_dir():
        problem = "is no directory" if path.exists() else "not found"
        raise ContextNotFound(
            f'unable to prepare context: path "{context}" {problem}',
            hint="the last argument is the directory of the build context, often a single dot",
        )
    return path


def _named_directory(name: str, value: str) -> Path:
    kind = value.partition(":")[0]
    if kind in {"target", "input"} and not Path(value).exists():
        raise ContextNotFound(
            f"failed to get build context {name}: {value} names a target of a bake file",
            hint="targets are known within a bake file only; build that one first, and name its image",
        )
    path = Path(value)
    if not value or not path.is_dir():
        missing = f"stat {value}: no such file or directory"
        problem = f"{value}: not a directory" if value and path.exists() else missing
        raise ContextNotFound(
            f"failed to get build context {name}: {problem}", hint=_NAMED_HINT.format(name=name)
        )
    return path


def ignore_patterns(
    directory: Path, dockerfile: Path | None, request: BuildRequest
) -> Sequence[str]:
    """Read the ignore file: that of the Dockerfile if there is one, else the context's."""
    candidates = [directory / ".dockerignore"]
    if dockerfile is not None and request.dockerfile != "-":
        candidates.insert(0, dockerfile.with_name(dockerfile.name + ".dockerignore"))
    for path in candidates:
        try:
            text = decode(_read(path, "ignore file"))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"can't read {path}: {error.strerror}") from error
        return read_patterns(text)
    return ()
