"""Build contexts that aren't directories of this machine.

They are repositories, files and archives of web servers, and archives on standard input;
fetched before the Dockerfile is read, since it may be in them. Other than in a directory, owners are those
that an archive has, and there is no ignore file. Source: BuildKit's handling of remote contexts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from polyarch.dockerfile.lowering.remote import git_op
from polyarch.errors import InvalidLayer, NotFound
from polyarch.graph.op import GitOp, HttpOp
from polyarch.http.origin import redacted
from polyarch.inroot import read_small, resolve
from polyarch.layer.compress import decompressed
from polyarch.layer.tar import FILE
from polyarch.layer.tarfields import time_of
from polyarch.layer.tarread import TarReader
from polyarch.progress import CancelToken, Sink, step
from polyarch.record import frozen, replace
from polyarch.text.giturl import GitReference, parse_git_reference
from polyarch.worker.archive import unpack_archive
from polyarch.worker.remote import RemoteSources
from polyarch.worker.tree import SourceTree

__all__ = ["Fetched", "Fetcher"]

_FILE_NAME = "context"
_WEB = ("http://", "https://")


@frozen
class Fetched:
    """A context that was brought here.

    `made` is when its source was made, in seconds, None if it doesn't tell; `dockerfile` is the name of
    the Dockerfile if the context is nothing but that. `source` is what was fetched, None for an archive that was handed
    over.
    """

    tree: SourceTree
    made: int | None = None
    dockerfile: str = ""
    source: GitOp | HttpOp | None = None

    def date(self) -> int | None:
        """Return when it was made; an archive that doesn't say, when its newest file was."""
        if self.made is not None or not self.dockerfile:
            return self.made
        return _archive_date(self.tree.root / self.dockerfile)

    def has(self, name: str) -> bool:
        """Tell whether there is something of that name."""
        return resolve(self.tree.root, name).exists()

    def read(self, name: str, limit: int) -> bytes:
        """Return a file. Raises NotFound, InputError for a special file or more than `limit` bytes."""
        try:
            return read_small(name, limit, "Dockerfile", root=self.tree.root)
        except OSError as error:
            raise NotFound(
                f"failed to read dockerfile: open {name}: {(error.strerror or str(error)).lower()}",
                hint="looked in the build context; name another one with -f",
            ) from error


@frozen
class Fetcher:
    """Brings contexts here; `directory` names a fresh directory in the store.

    `keep_git_dir` says that the main context keeps its `.git` even if its address doesn't say so,
    `is_dated` that its files get the time of the commit.
    """

    remote: RemoteSources
    directory: Callable[[], Path]
    sink: Sink
    cancel: CancelToken
    keep_git_dir: bool = False
    is_dated: bool = False
    check: Callable[[HttpOp | GitOp], None] = lambda _op: None
    """Raises for what isn't to be fetched. The main context is looked at by who fetches it."""

    def fetch(self, address: str) -> Fetched | None:
        """Fetch the main context; None if it is no address. An archive is unpacked.

        Raises InputError, NotFound, RemoteError, IntegrityError, MachineError, StoreError.
        """
        reference = _repository(address)
        if reference is not None:
            op = git_op(reference, keep_git_dir=self.keep_git_dir)
            if self.is_dated and not op.mtime:
                op = replace(op, mtime="commit")
            return self._commit(op, address)
        return self._file(address) if address.startswith(_WEB) else None

    def named(self, address: str) -> Fetched | None:
        """Fetch a named context, as `fetch` does. A file stays a file called `context`, unless `#:` names a directory."""
        reference = _repository(address)
        if reference is not None:
            self.check(git_op(reference))
            return self._commit(git_op(reference), address)
        if address.startswith(_WEB) and "#:" in address:
            self.check(HttpOp(url=address.partition("#:")[0], filename=_FILE_NAME))
            return self._file(address)
        return self.plain(address) if address.startswith(_WEB) else None

    def plain(self, address: str) -> Fetched:
        """Fetch a file of a web server as it is."""
        self.check(HttpOp(url=address, filename=_FILE_NAME))
        with step(self.sink, f"[internal] load {redacted(address)}"):
            return self._downloaded(address)

    def _commit(self, op: GitOp, address: str) -> Fetched:
        with step(self.sink, f"[internal] load git source {redacted(address)}"):
            commit = self.remote.commit(op, self.cancel)
        tree = SourceTree(root=commit.root, revision=commit.commit)
        return Fetched(tree=tree, made=commit.made, source=op)

    def _file(self, address: str) -> Fetched:
        """Fetch a file; one directory of an archive is meant by `#:DIRECTORY`, which BuildKit doesn't know."""
        before, _, inner = address.partition("#:")
        with step(self.sink, "[internal] load remote build context"):
            file = self._downloaded(before if inner else address)
            path = file.tree.root / _FILE_NAME
            tree = self._unpacked(path)
        if tree is None:
            return file
        if inner:
            tree = replace(tree, root=_directory(tree.root, inner, address))
        made = _newest(path) if file.made is None else file.made
        return Fetched(tree=tree, made=made, source=file.source)

    def _downloaded(self, address: str) -> Fetched:
        op = HttpOp(url=address, filename=_FILE_NAME)
        file = self.remote.file(op, self.cancel)
        tree = SourceTree(root=file.directory)
        return Fetched(tree=tree, made=file.modified, dockerfile=_FILE_NAME, source=op)

    def date(self, op: HttpOp | GitOp) -> int | None:
        """Return when what an op fetches was made, in seconds; None if it doesn't tell."""
        self.check(op)
        if isinstance(op, GitOp):
            return self.remote.commit(op, self.cancel).made
        file = self.remote.file(op, self.cancel)
        return _archive_date(file.path) if file.modified is None else file.modified

    def archive(self, data: bytes) -> Fetched | None:
        """Unpack an archive that was read from standard input; None if it is none."""
        directory = self.directory()
        directory.mkdir()
        path = directory / _FILE_NAME
        path.write_bytes(data)
        tree = self._unpacked(path)
        return None if tree is None else Fetched(tree=tree)

    def _unpacked(self, path: Path) -> SourceTree | None:
        root = self.directory()
        root.mkdir()
        return SourceTree(root=root) if unpack_archive(path, root, "/", None, []) else None


def _directory(root: Path, inner: str, address: str) -> Path:
    found = resolve(root, inner)
    if not found.is_dir():
        raise NotFound(
            f"there is no directory {inner} in {redacted(address.partition('#')[0])}",
            hint="behind #: stands a directory of the archive",
        )
    return found


def _repository(address: str) -> GitReference | None:
    reference = parse_git_reference(address)
    if reference is not None and reference.ambiguous and Path(address).is_dir():
        return None
    return reference


def _archive_date(path: Path) -> int | None:
    try:
        return _newest(path)
    except InvalidLayer:
        return None  # no archive


def _newest(path: Path) -> int | None:
    """Return the time of the newest file in an archive, in seconds."""
    with path.open("rb") as stream, decompressed(stream) as tar:
        members = TarReader(tar, stop_at_mark=True)
        times = (time_of(member.mtime_ns) for member in members if member.kind == FILE)
        newest = max(times, default=None)
    return None if newest is None else newest // 1_000_000_000
