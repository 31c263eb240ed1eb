"""A layer's tar, unpacked: into a snapshot's directory, or into a tree that is there.

Archives come from registries and users, and nobody vouches for them. An entry is refused with
InvalidLayer if its name, or the first name of a hard link, leaves the root by `..` (in a layer; where ADD
unpacks, such a name starts at the destination); if a parent of it
is a symbolic link to an absolute path or out of the root (a link to elsewhere inside is followed, as
archives of merged systems have it); or if a hard link's first name isn't a file. Nothing is ever opened
through a symbolic link in the last place.

Source: OCI image-spec v1.1, layer.md ("Applying Changesets"). Extended attributes: all of PAX's are set
but those of overlayfs and our own; what the file system or the user namespace refuses is left out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import time_ns
from typing import ClassVar

from polyarch.digest import DiffID
from polyarch.errors import InvalidLayer
from polyarch.inroot import PRIVATE_XATTR_PREFIX, get_owner, make_node, resolve, set_owner
from polyarch.layer.hashing import HashingSource
from polyarch.layer.tar import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    Entry,
)
from polyarch.layer.tarfields import time_of
from polyarch.layer.tarread import Source, TarReader
from polyarch.progress import check_cancelled
from polyarch.record import frozen
from polyarch.store.layerform import is_whiteout, look_up, make_opaque, make_whiteout
from polyarch.store.trees import remove_tree
from polyarch.store.trouble import store_error, store_trouble

__all__ = ["apply", "extract"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_DROPPED = ("user.overlay.", "trusted.overlay.", "user.fuseoverlayfs.", PRIVATE_XATTR_PREFIX)
_REFUSALS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE, errno.E2BIG})
# Names, links and sizes that no file of this file system can have.
_ENTRYS_FAULT = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EFBIG, errno.EOVERFLOW})
_DEVICES = {CHARACTER_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
_MOST_DIRECTORIES = 1 << 20
_MOST_ATTRIBUTES = 64 << 20
"""Bytes. Directories get their metadata in the end, so all of it is kept till then: some 500 bytes for each."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def apply(source: Source, layer: Path, *, lowers: Sequence[Path] = ()) -> DiffID:
    """Unpack one layer into the empty directory `layer`, in layer form; returns its diff ID.

    `source` gives the uncompressed tar and is read once, to its end. `.wh.NAME` becomes a whiteout,
    `.wh..wh..opq` an opaque directory. Not atomic: after an error `layer` must be thrown away.

    A parent directory for which the archive has no entry is made with mode 0755; if `lowers`, the
    layers below in layer form, base first, have it, with its metadata there. Such a layer fits this
    stack only; how many of its directories were taken from below can't be seen afterwards.

    Raises InvalidLayer naming the entry, StoreError.
    """
    with HashingSource(source) as hashing:
        below = tuple(str(lower) for lower in reversed(lowers))
        _unpack(hashing, layer, _Rules(layer_form=True, link_root=layer, below=below))
        return DiffID(hashing.digest)


def extract(
    source: Source,
    root: Path,
    destination: str,
    *,
    owner: tuple[int, int] | None = None,
) -> None:
    """Unpack an archive (`ADD`) at `destination` inside the tree `root`, over what is there.

    `source` gives the uncompressed tar, and is read to the end mark only: what is behind it is no part of
    the archive. Names that look like whiteouts are plain names; a leading slash of a name counts for
    nothing, and `..` leads no higher than the destination, as with BuildKit. With `owner`, all get that
    uid and gid. The destination is a directory (absolute inside `root`) and made if it is missing, mode
    0755. Links in it are followed inside `root`.

    Raises InvalidLayer naming the entry, StoreError.
    """
    target = resolve(root, destination)
    with store_trouble("unpack into", target):
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
    _unpack(source, target, _Rules(owner=owner, layer_form=False, link_root=root))


@frozen
class _Rules:
    layer_form: bool
    link_root: Path
    """Where absolute links start, and beyond which no link leads."""
    owner: tuple[int, int] | None = None
    below: tuple[str, ...] = ()


def _unpack(source: Source, root: Path, rules: _Rules) -> None:
    reader = TarReader(source, stop_at_mark=not rules.layer_form)
    unpacker = _Unpacker(str(root), reader, rules)
    for entry in reader:
        check_cancelled()
        try:
            unpacker.add(entry)
        except OSError as error:
            if error.errno in _ENTRYS_FAULT:
                raise _refused(entry, (error.strerror or "").lower()) from error
            raise store_error(error, f"unpack {entry.name!r} into", root) from error
        except (ValueError, OverflowError, RecursionError) as error:
            raise _refused(entry, str(error)) from error
    with store_trouble("unpack into", root):
        unpacker.finish()


class _Unpacker:
    """Makes the files of an archive's entries below `root`, one after another."""

    def __init__(self, root: str, reader: TarReader, rules: _Rules) -> None:
        self._root = root
        self._reader = reader
        self._rules = rules
        self._own = (os.geteuid(), os.getegid())
        # Directories that were seen to be directories; what would change that takes them out again.
        self._directories = {"": root}
        self._late: dict[str, tuple[Entry, int]] = {}
        """What directories get in the end, and how many trees had been removed when they came."""
        self._removed: dict[str, int] = {}
        """Places where a tree was removed, and which removal it was."""
        self._removals = 0
        self._attributes = 0
        self._below = {"": rules.below}

    def add(self, entry: Entry) -> None:
        """Make one entry's file. Raises InvalidLayer, OSError, ValueError, OverflowError."""
        name = self._clean(entry)
        directory, _, base = name.rpartition("/")
        if not name:
            if self._rules.layer_form and entry.kind == DIRECTORY:
                self._put_off(entry, self._root)
            return
        parent = self._directories.get(directory) or self._directory(entry, directory)
        if self._rules.layer_form and base.startswith(_WHITEOUT):
            self._white_out(entry, parent, base)
            return
        if self._rules.owner is not None:
            entry = entry._replace(uid=self._rules.owner[0], gid=self._rules.owner[1])
        path = f"{parent}/{base}"
        if entry.kind == DIRECTORY:
            self._add_directory(entry, name, path)
            return
        maker = self._MAKERS.get(entry.kind)
        if maker is None:
            raise _refused(entry, f"entries of type {entry.kind!r} can't be unpacked")
        try:
            maker(self, entry, path)
        except FileExistsError:
            self._clear(path)
            maker(self, entry, path)

    def finish(self) -> None:
        """Give the directories their owners, modes and times, now that nothing is put into them."""
        for path, (entry, moment) in reversed(self._late.items()):
            if self._removed and self._is_gone(path, moment):
                continue
            check_cancelled()
            self._set_owner(entry, path)
            os.chmod(path, entry.mode)
            _set_xattrs(entry, path)
            _set_time(entry, path)

    def _clean(self, entry: Entry) -> str:
        """Return the entry's name without what means nothing; "" for the root."""
        name = entry.name
        if not (name.startswith(("/", ".")) or "/." in name or "//" in name):
            return name
        if name.startswith("/") and name.strip("/") and self._rules.layer_form:
            raise _refused(entry, "its name is absolute")
        return self._cleaned(entry, name)

    def _cleaned(self, entry: Entry, name: str) -> str:
        parts: list[str] = []
        for part in name.split("/"):
            if part == "..":
                if parts:
                    parts.pop()
                elif self._rules.layer_form:
                    raise _refused(entry, f"{name!r} leaves the root")
            elif part not in ("", "."):
                parts.append(part)
        return "/".join(parts)

    def _directory(self, entry: Entry, name: str) -> str:
        """Return where the directory `name` lies, made with all its parents where it is missing."""
        above, _, base = name.rpartition("/")
        parent = self._directories.get(above) or self._directory(entry, above)
        path = f"{parent}/{base}"
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            os.mkdir(path, 0o700)
            made = self._like_below(name)
            if not self._rules.layer_form:
                made = made._replace(mode=made.mode | self._group_bit(parent))
            self._put_off(made, path)
        else:
            if stat.S_ISLNK(status.st_mode):
                path = self._follow(entry, path)
            elif is_whiteout(status) and self._rules.layer_form:
                os.unlink(path)
                os.mkdir(path, 0o700)
                make_opaque(path)
                self._put_off(self._like_below(""), path)
            elif not stat.S_ISDIR(status.st_mode):
                raise _refused(entry, f"{name!r} is not a directory")
        self._directories[name] = path
        return path

    def _group_bit(self, directory: str) -> int:
        """Return the setgid bit of a directory, which one that is made in it has, too."""
        entry, _ = self._late.get(directory, (None, 0))
        return stat.S_ISGID & (entry.mode if entry else os.lstat(directory).st_mode)

    def _like_below(self, name: str) -> Entry:
        """Return an entry for a directory that the archive forgot: as it is below, or a plain one."""
        directories = self._directories_below(name) if name else ()
        if not directories:
            # Of root, whatever --chown says: the archive doesn't speak of it.
            return Entry(name=name, kind=DIRECTORY, mode=0o755, mtime_ns=time_ns())
        status = os.lstat(directories[0])
        uid, gid = get_owner(directories[0], status)
        mode = stat.S_IMODE(status.st_mode)
        mtime_ns = status.st_mtime_ns
        return Entry(name=name, kind=DIRECTORY, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns)

    def _directories_below(self, name: str) -> tuple[str, ...]:
        if name not in self._below:
            above, _, base = name.rpartition("/")
            self._below[name] = look_up(self._directories_below(above), base)[1]
        return self._below[name]

    def _follow(self, entry: Entry, path: str) -> str:
        """Return the directory that a link in an entry's way leads to, inside the root."""
        target = os.readlink(path)
        shown = f"{path[len(self._root) :]!r}"
        inside = path[len(self._root) + 1 :].rpartition("/")[0]
        if self._rules.layer_form and (target.startswith("/") or _leaves(inside, target)):
            raise _refused(entry, f"it goes through the symbolic link {shown} to {target!r}")
        link_root = self._rules.link_root
        resolved = resolve(link_root, path[len(str(link_root)) :])
        if not resolved.is_dir():
            raise _refused(entry, f"it goes through the symbolic link {shown} to nowhere")
        return str(resolved)

    def _white_out(self, entry: Entry, parent: str, base: str) -> None:
        if base == _OPAQUE:
            make_opaque(parent)
            return
        hidden = base[len(_WHITEOUT) :]
        if hidden.startswith(_WHITEOUT):
            return  # what AUFS kept for itself
        if hidden in ("", ".", ".."):
            raise _refused(entry, "it hides no name")
        try:
            make_whiteout(f"{parent}/{hidden}")
        except FileExistsError:
            # This layer's own file hides the lower one by itself; a directory would merge.
            status = os.lstat(f"{parent}/{hidden}")
            if stat.S_ISDIR(status.st_mode):
                make_opaque(f"{parent}/{hidden}")

    def _add_directory(self, entry: Entry, name: str, path: str) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                hides = self._rules.layer_form and is_whiteout(status)
                os.unlink(path)
                self._forget()
                os.mkdir(path, 0o700)
                if hides:
                    make_opaque(path)
        self._directories[name] = path
        self._put_off(entry, path)

    def _put_off(self, entry: Entry, path: str) -> None:
        """Remember what a directory gets in the end. Raises InvalidLayer for more than there is room for."""
        check_cancelled()
        self._late[path] = (entry, self._removals)
        self._attributes += sum(map(len, entry.xattrs.values()))
        if len(self._late) > _MOST_DIRECTORIES or self._attributes > _MOST_ATTRIBUTES:
            raise _refused(
                entry,
                f"an archive may have {_MOST_DIRECTORIES} directories, with {_MOST_ATTRIBUTES >> 20} MiB of attributes",
            )

    def _add_file(self, entry: Entry, path: str) -> None:
        descriptor = os.open(path, _NEW, 0o600)
        try:
            if entry.size:
                self._reader.write_to(descriptor, entry)
            self._set_owner(entry, path)
            os.fchmod(descriptor, entry.mode)
            if entry.xattrs:
                _set_xattrs(entry, path)
            _set_time(entry, descriptor)
        finally:
            os.close(descriptor)

    def _add_symlink(self, entry: Entry, path: str) -> None:
        os.symlink(entry.link, path)
        self._set_owner(entry, path)
        _set_time(entry, path)

    def _add_hard_link(self, entry: Entry, path: str) -> None:
        first = self._cleaned(entry, entry.link)
        directory, _, base = first.rpartition("/")
        parent = self._directories.get(directory) or self._directory(entry, directory)
        source = f"{parent}/{base}"
        try:
            status = os.lstat(source)
        except FileNotFoundError:
            raise _refused(entry, f"it links to {entry.link!r}, which isn't there") from None
        if stat.S_ISDIR(status.st_mode) or (self._rules.layer_form and is_whiteout(status)):
            raise _refused(entry, f"it links to {entry.link!r}, which is no file")
        if source != path:
            os.link(source, path, follow_symlinks=False)
        if not self._rules.layer_form:
            # BuildKit's ADD heeds what the entry says of the file, though it is there already.
            self._set_owner(entry, path)
            if not stat.S_ISLNK(status.st_mode):
                os.chmod(path, entry.mode)
                _set_xattrs(entry, path)
                _set_time(entry, path)

    def _add_special(self, entry: Entry, path: str) -> None:
        mode = _DEVICES[entry.kind] | 0o600
        device = 0 if entry.kind == FIFO else os.makedev(entry.major, entry.minor)
        make_node(path, mode, device)
        self._set_owner(entry, path)
        os.chmod(path, entry.mode)
        if entry.xattrs:
            _set_xattrs(entry, path)
        _set_time(entry, path)

    def _set_owner(self, entry: Entry, path: str) -> None:
        # A file in a fresh layer is ours already; elsewhere a setgid directory may have its say.
        if (entry.uid, entry.gid) != self._own or not self._rules.layer_form:
            set_owner(path, entry.uid, entry.gid, fresh=True)

    def _forget(self) -> None:
        """Forget where directories lay: a link that led there is gone, or they are.

        All of them, as they are soon found again, and looking through them for each link would take the
        square of their number.
        """
        self._directories = {"": self._root}

    def _clear(self, path: str) -> None:
        """Remove what is at `path`; directories that were in it get nothing more."""
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        remove_tree(path)
        self._forget()
        if is_directory:
            self._removals += 1
            self._removed[path] = self._removals

    def _is_gone(self, path: str, moment: int) -> bool:
        """Tell whether a directory was removed after it came, by itself or with one that it lay in."""
        while len(path) > len(str(self._rules.link_root)):
            if self._removed.get(path, 0) > moment:
                return True
            path = path.rpartition("/")[0]
        return False

    _MAKERS: ClassVar[Mapping[str, Callable[[_Unpacker, Entry, str], None]]] = {
        FILE: _add_file,
        HARD_LINK: _add_hard_link,
        SYMLINK: _add_symlink,
        CHARACTER_DEVICE: _add_special,
        BLOCK_DEVICE: _add_special,
        FIFO: _add_special,
    }


def _set_time(entry: Entry, path: str | int) -> None:
    mtime_ns = time_of(entry.mtime_ns)
    follows = isinstance(path, int)
    os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=follows)


def _set_xattrs(entry: Entry, path: str) -> None:
    for name, value in entry.xattrs.items():
        if name.startswith(_DROPPED):
            continue
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise


def _leaves(directory: str, target: str) -> bool:
    """Return whether a relative link in `directory` leads out of the root, read as text."""
    depth = len([part for part in directory.split("/") if part])
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _refused(entry: Entry, reason: str) -> InvalidLayer:
    return InvalidLayer(
        f"can't unpack the entry {entry.name!r}: {reason}",
        hint="the archive is damaged or hostile; don't use it",
    )
