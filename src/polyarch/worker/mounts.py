"""The mounts of a RUN, made ready for the runtime and undone after the step."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from polyarch import syscalls
from polyarch.errors import NotFound
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    ExecOp,
    FileOp,
    ScratchOp,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.inroot import get_owner, resolve, set_owner
from polyarch.progress import CancelToken
from polyarch.record import field, frozen, mutable
from polyarch.runtime.step import Bind, Mount, Tmpfs
from polyarch.snapshot.snapshotter import Draft, SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.store import Store
from polyarch.worker.agent import forward_agent
from polyarch.worker.copy import Copier
from polyarch.worker.secrets import Secrets
from polyarch.worker.tree import SourceTree, find_path

__all__ = ["KeptMounts", "MountedStep", "Reading", "StepMounts"]

_LOCKED = ("nosuid", "nodev", "noexec")
_TMPFS_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV


class Reading(Protocol):
    """Gives the tree of an input of a step, ready to be read, for as long as a block lasts."""

    def __call__(
        self, result: LayerStack | SourceTree, vertex: Vertex, cancel: CancelToken
    ) -> AbstractContextManager[SourceTree]:
        """Give `result`, which `vertex` made, as a tree."""


@mutable
class MountedStep:
    """What the mounts of a step come to: for the runtime, and for the environment.

    `env` stands above what the step has of a name, `defaults` below. `written` are the drafts of the mounts that may
    be written to, outputs among them, by their places among the op's.
    """

    mounts: list[Mount] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict, repr=False)
    defaults: dict[str, str] = field(default_factory=dict)
    written: dict[int, Draft] = field(default_factory=dict, repr=False)


class KeptMounts(Protocol):
    """Has the content of cache mounts of other machines."""

    def fill(self, identifier: str, directory: Path, /) -> bool:
        """Put the content of a cache into a new directory, which stays empty if nobody has it; return whether one has."""

    def mounted(self, identifier: str, snapshot: SnapshotID, /) -> None:
        """A step mounts a cache that it may write to, which lies in this snapshot."""


@frozen
class StepMounts:
    """Makes the mounts of a build's steps ready. `kept` has what new caches begin with, if anything has.

    A step that ignores the cache (`--no-cache`) begins its caches anew, unless a step of the build had them before.
    """

    store: Store
    snapshotter: Snapshotter
    secrets: Secrets
    kept: KeptMounts | None = None
    _had: set[str] = field(default_factory=set, repr=False)
    """What the caches are known by that steps have had."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def ready(
        self,
        vertex: Vertex,
        sources: Sequence[LayerStack | SourceTree],
        reading: Reading,
        directory: Path,
        cancel: CancelToken,
    ) -> Iterator[MountedStep]:
        """Give the mounts of the vertex's exec; all is undone when the block is left.

        `directory` is an empty one of this process. Raises NotFound for a source or a required secret
        that isn't there, InputError, Cancelled while waiting for a locked cache.
        """
        op = vertex.op
        assert isinstance(op, ExecOp)
        self._begin(vertex, sources)
        with ExitStack() as stack:
            maker = _Maker(self, vertex, sources, reading, directory, cancel, stack)
            maker.claim(mount for mount in op.mounts if isinstance(mount, CacheMount))
            for number, mount in enumerate(op.mounts):
                if isinstance(mount, BindMount):
                    maker.bind(mount, number)
                elif isinstance(mount, CacheMount):
                    maker.cache(mount)
                elif isinstance(mount, TmpfsMount):
                    maker.tmpfs(mount)
                elif isinstance(mount, SecretMount):
                    maker.secret(mount, number)
                else:
                    maker.ssh(mount, number)
            # Whatever their order in the Dockerfile: parents first, or they would hide what is below.
            maker.step.mounts.sort(key=lambda mount: mount.target)
            yield maker.step

    def _begin(self, vertex: Vertex, sources: Sequence[LayerStack | SourceTree]) -> None:
        op = vertex.op
        assert isinstance(op, ExecOp)
        caches = {_identity(each, sources) for each in op.mounts if isinstance(each, CacheMount)}
        with self._lock:
            for identity in sorted(caches - self._had) if vertex.ignore_cache else ():
                self._forget_all(identity)
            self._had.update(caches)

    def forget_caches(self, vertex: Vertex, sources: Sequence[LayerStack | SourceTree]) -> None:
        """Remove the directories of the caches that the vertex's exec may have written to.

        One that is being used, here or in another build, stays as it is. Whoever takes a cache looks
        whether it is there after its lock is theirs, so the next one begins it anew.
        """
        op = vertex.op
        assert isinstance(op, ExecOp)
        for mount in op.mounts:
            if isinstance(mount, CacheMount) and not mount.read_only:
                self._forget_all(_identity(mount, sources))

    def _forget_all(self, identity: str) -> None:
        number = 0
        while self.snapshotter.exists(name := _directory(identity, number)):
            self._forget(name)
            number += 1

    def _forget(self, name: SnapshotID) -> None:
        with self.store.locks.exclusive(f"mount-{name}", wait=False) as is_alone:
            if is_alone:
                self.store.snapshots.remove(name)
                self.snapshotter.remove(name)


def _identity(mount: CacheMount, sources: Sequence[LayerStack | SourceTree]) -> str:
    """Return what a cache is known by: its id, and what its first content comes from."""
    origin = ""
    if mount.input is not None:
        source = sources[mount.input]
        assert isinstance(source, LayerStack)
        origin = f"{source.identity}:{mount.source}"
    return hashlib.sha256(f"{mount.id}\0{origin}".encode()).hexdigest()


def _directory(identity: str, number: int) -> SnapshotID:
    """Return the name of a cache's directory; there is a second one if two have it for themselves."""
    return SnapshotID(f"cache-{identity}" + (f"-{number}" if number else ""))


class _Maker:
    """Makes the mounts of one step."""

    def __init__(
        self,
        parent: StepMounts,
        vertex: Vertex,
        sources: Sequence[LayerStack | SourceTree],
        reading: Reading,
        directory: Path,
        cancel: CancelToken,
        stack: ExitStack,
    ) -> None:
        self.step = MountedStep()
        self._parent = parent
        self._vertex = vertex
        self._sources = sources
        self._reading = reading
        self._directory = directory
        self._cancel = cancel
        self._stack = stack
        self._memory: Path | None = None
        self._caches: dict[str, SnapshotID] = {}

    def _tree(self, index: int) -> SourceTree:
        inputs = self._vertex.inputs
        reading = self._reading(self._sources[index], inputs[index], self._cancel)
        return self._stack.enter_context(reading)

    def bind(self, mount: BindMount, number: int) -> None:
        """Bind a part of an input's tree; a writable one is a layer, thrown away or an output."""
        tree = self._tree(mount.input)
        root = tree.root
        if not mount.read_only:
            result = self._sources[mount.input]
            assert isinstance(result, LayerStack)
            draft = self._stack.enter_context(self._parent.snapshotter.prepare(result.snapshots))
            root = draft.root
            self.step.written[number] = draft
        path = resolve(root, mount.source)
        if not os.path.lexists(path):
            raise NotFound(
                f'"{mount.source}": not found', hint="the source of a bind mount must exist"
            )
        self.step.mounts.append(
            Bind(source=str(path), target=mount.target, read_only=mount.read_only)
        )

    def _argv(self) -> tuple[str, ...]:
        op = self._vertex.op
        return op.argv if isinstance(op, ExecOp) else ()

    def cache(self, mount: CacheMount) -> None:
        """Bind a cache's directory, which is made if it is new."""
        snapshot = self._caches[_identity(mount, self._sources)]
        snapshotter = self._parent.snapshotter
        if not snapshotter.exists(snapshot):
            record = SnapshotRecord(
                id=snapshot,
                description=f"cached mount {mount.target} from exec {' '.join(self._argv())}",
                type=RecordType.CACHE_MOUNT,
            )
            snapshotter.unpack(snapshot, lambda directory: self._fill(directory, mount), record)
        kept = self._parent.kept
        if kept is not None and not mount.read_only and self._begins_empty(mount):
            kept.mounted(mount.id, snapshot)
        self.step.mounts.append(
            Bind(
                source=str(snapshotter.path(snapshot)),
                target=mount.target,
                read_only=mount.read_only,
            )
        )

    def tmpfs(self, mount: TmpfsMount) -> None:
        """Show an empty file system in memory."""
        self.step.mounts.append(
            Tmpfs(target=mount.target, size=mount.size, read_only=mount.read_only)
        )

    def claim(self, mounts: Iterable[CacheMount]) -> None:
        """Lock the directories of caches until the step has ended, each as it is shared.

        All steps take them in one order, so that none waits for another that waits for it. A cache that a
        step has twice is locked as it says first.
        """
        wanted: dict[str, Sharing] = {}
        for mount in mounts:
            wanted.setdefault(_identity(mount, self._sources), mount.sharing)
        for identity in sorted(wanted):
            self._caches[identity] = self._claimed(identity, wanted[identity])

    def _claimed(self, identity: str, sharing: Sharing) -> SnapshotID:
        """Return a directory of a cache, locked: the first that nobody has in another way, else a new one.

        Who wants a locked cache waits in place of a new one.
        """
        locks, wait = self._parent.store.locks, False
        take = locks.shared if sharing is Sharing.SHARED else locks.exclusive
        number = 0
        while True:
            name = _directory(identity, number)
            if number and sharing is Sharing.LOCKED and not self._parent.snapshotter.exists(name):
                number, wait = 0, True
                continue
            lock = take(f"mount-{name}", wait=wait, check=self._cancel.check)
            if self._stack.enter_context(lock):
                return name
            number += 1

    def _fill(self, directory: Path, mount: CacheMount) -> None:
        """Make the first content of a cache: nothing, or a part of an input's tree with its owner and mode."""
        kept = self._parent.kept
        is_filled = (
            kept is not None
            and not self._vertex.ignore_cache
            and self._begins_empty(mount)
            and kept.fill(mount.id, directory)
        )
        if mount.input is None:
            set_owner(directory, mount.uid, mount.gid)
            directory.chmod(mount.mode)
            return
        tree = self._tree(mount.input)
        if not is_filled:
            copier = Copier(source=tree, root=directory)
            copier.copy(find_path(tree, mount.source), "/")
        origin = resolve(tree.root, mount.source)
        if origin.is_dir():
            set_owner(directory, *get_owner(origin))
            directory.chmod(stat.S_IMODE(origin.stat().st_mode))

    def _begins_empty(self, mount: CacheMount) -> bool:
        """Whether a cache has nothing at first: its directory may be made by a step, for its owner and mode."""
        if mount.input is None:
            return True
        source = self._vertex.inputs[mount.input]
        return isinstance(source.op, FileOp) and all(
            isinstance(each.op, ScratchOp) for each in source.inputs
        )

    def _in_memory(self) -> Path:
        """Return a directory whose files are never on a disk."""
        if self._memory is None:
            self._memory = self._directory / "secrets"
            self._memory.mkdir(mode=0o700)
            try:
                syscalls.mount("tmpfs", str(self._memory), "tmpfs", _TMPFS_FLAGS, "mode=700")
            except PermissionError:
                # Where nothing can be mounted they are put into the root anyway (see `runtime/placing.py`).
                return self._memory
            self._stack.callback(syscalls.umount2, str(self._memory), syscalls.MNT_DETACH)
        return self._memory

    def secret(self, mount: SecretMount, number: int) -> None:
        """Show a secret as a file, as a variable, or not at all if there is none."""
        value = self._parent.secrets.find(mount.id)
        if value is None:
            if mount.required:
                raise NotFound(
                    f"secret {mount.id}: not found",
                    hint=f"give it with --secret id={mount.id},src=FILE",
                )
            return
        if mount.env:
            self.step.env[mount.env] = os.fsdecode(value)
        if mount.target:
            path = self._in_memory() / str(number)
            path.write_bytes(value)
            _give(path, mount)
            flags = tuple(each for each in _LOCKED if each != "noexec" or not mount.mode & 0o111)
            self.step.mounts.append(
                Bind(source=str(path), target=mount.target, read_only=True, flags=flags)
            )

    def ssh(self, mount: SshMount, number: int) -> None:
        """Show the socket of an agent that only lists and signs."""
        # Told even if there is no agent, as BuildKit does.
        self.step.defaults.setdefault("SSH_AUTH_SOCK", mount.target)
        agent = self._parent.secrets.agents.get(mount.id)
        if agent is None:
            if mount.required:
                raise NotFound(
                    f"unset ssh forward key {mount.id}", hint=f"give it with --ssh {mount.id}"
                )
            return
        path = self._directory / f"agent.{number}"
        self._stack.enter_context(forward_agent(agent, path))
        _give(path, mount)
        self.step.mounts.append(Bind(source=str(path), target=mount.target))


def _give(path: Path, mount: SecretMount | SshMount) -> None:
    """Set mode and owner; an owner that this machine can't give stays root, who may read it."""
    if not stat.S_ISSOCK(path.stat().st_mode) or mount.mode:
        path.chmod(mount.mode)
    with suppress(OSError):
        os.chown(path, mount.uid, mount.gid)
