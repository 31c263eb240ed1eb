"""Build contexts that aren't folders of this machine.

They are repositories, files and archives of web servers, and archives on standard input;
fetched before the Dockerfile is read, since it may be in them. Other than in a folder, owners are those
that an archive has, and there is no ignore file. Source: BuildKit's handling of remote contexts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from polyarch.dockerfile.remote import git_op
from polyarch.errors import InvalidLayer, NotFound
from polyarch.graph.op import GitOp, HttpOp
from polyarch.inroot import resolve
from polyarch.layer.compress import decompressed
from polyarch.layer.tarread import TarReader
from polyarch.progress import CancelToken, Sink, step
from polyarch.record import frozen
from polyarch.registry.download import redacted
from polyarch.text.giturl import GitReference, parse_git_reference
from polyarch.worker.archive import unpack_archive
from polyarch.worker.remote import RemoteSources
from polyarch.worker.source_git import set_times
from polyarch.worker.tree import SourceTree

__all__ = ["Fetched", "Fetcher"]

_FILE_NAME = "context"
_WEB = re.compile(r"https?://")


@frozen
class Fetched:
    """A context that was brought here.

    `made` is when its source was made, in seconds, None if it doesn't tell; `dockerfile` is the name of
    the Dockerfile if the context is nothing but that. `checkout` is the folder of a repository whose
    files have the time when they were written.
    """

    tree: SourceTree
    made: int | None = None
    dockerfile: str = ""
    checkout: Path | None = None

    def date(self) -> int | None:
        """Let the source say when the build was made: a repository's files get the commit's time."""
        if self.checkout is not None and self.made is not None:
            set_times(self.checkout, self.made)
        return self.made

    def has(self, name: str) -> bool:
        """Tell whether there is something of that name."""
        return resolve(self.tree.root, name).exists()

    def read(self, name: str, limit: int) -> bytes:
        """Read up to `limit` bytes of a file. Raises NotFound."""
        try:
            with open(resolve(self.tree.root, name), "rb") as stream:
                return stream.read(limit)
        except OSError as error:
            raise NotFound(
                f"failed to read dockerfile: open {name}: {(error.strerror or str(error)).lower()}",
                hint="looked in the build context; name another one with -f",
            ) from error


@frozen
class Fetcher:
    """Brings contexts here; `folder` names a fresh folder in the store.

    `keep_git_dir` is what becomes of `.git` where an address doesn't say.
    """

    remote: RemoteSources
    folder: Callable[[], Path]
    sink: Sink
    cancel: CancelToken
    keep_git_dir: bool = False

    def fetch(self, address: str) -> Fetched | None:
        """Fetch what an address names; None if it is no address.

        Raises InputError, NotFound, RemoteError, IntegrityError, MachineError, StoreError.
        """
        reference = parse_git_reference(address)
        if reference is not None and not (reference.ambiguous and Path(address).is_dir()):
            return self._commit(reference)
        return self._file(address) if _WEB.match(address) else None

    def _commit(self, reference: GitReference) -> Fetched:
        kept = self.keep_git_dir if reference.keep_git_dir is None else None
        op = git_op(reference, keep_git_dir=kept)
        with step(self.sink, f"[internal] load git source {redacted(op.remote)}"):
            commit = self.remote.commit(op, self.cancel)
        tree = SourceTree(root=commit.root, revision=commit.commit)
        checkout = None if op.mtime else commit.root
        return Fetched(tree=tree, made=commit.made, checkout=checkout)

    def _file(self, address: str) -> Fetched:
        with step(self.sink, "[internal] load remote build context"):
            op = HttpOp(url=address, filename=_FILE_NAME)
            file = self.remote.file(op, self.cancel)
            tree = self._unpacked(file.path)
        if tree is None:
            tree = SourceTree(root=file.folder)
            return Fetched(tree=tree, made=file.modified, dockerfile=_FILE_NAME)
        made = _newest(file.path) if file.modified is None else file.modified
        return Fetched(tree=tree, made=made)

    def date(self, op: HttpOp | GitOp) -> int | None:
        """Return when what an op fetches was made, in seconds; None if it doesn't tell."""
        if isinstance(op, GitOp):
            return self.remote.commit(op, self.cancel).made
        file = self.remote.file(op, self.cancel)
        if file.modified is not None:
            return file.modified
        try:
            return _newest(file.path)
        except InvalidLayer:
            return None  # no archive

    def archive(self, data: bytes) -> Fetched | None:
        """Unpack an archive that was read from standard input; None if it is none."""
        folder = self.folder()
        folder.mkdir()
        path = folder / _FILE_NAME
        path.write_bytes(data)
        tree = self._unpacked(path)
        return None if tree is None else Fetched(tree=tree)

    def _unpacked(self, path: Path) -> SourceTree | None:
        root = self.folder()
        root.mkdir()
        return SourceTree(root=root) if unpack_archive(path, root, "/", None, []) else None


def _newest(path: Path) -> int | None:
    """Return the time of the newest member of an archive, in seconds."""
    with path.open("rb") as stream, decompressed(stream) as tar:
        times = [member.mtime_ns // 1_000_000_000 for member in TarReader(tar)]
    return max(times, default=None)
