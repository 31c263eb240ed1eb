"""Trees of other machines: files of web servers, commits of git repositories.

What fetches them is loaded when the first of them is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from polyarch.graph.op import GitOp, HttpOp
from polyarch.http.pools import Pools
from polyarch.progress import CancelToken
from polyarch.record import field, frozen
from polyarch.registry.hosts import load_hosts
from polyarch.store.store import Store
from polyarch.worker.secrets import Secrets
from polyarch.worker.tree import SourceTree

if TYPE_CHECKING:
    from polyarch.worker.source_git import GitRef, GitTree
    from polyarch.worker.source_http import HttpFile

__all__ = ["RemoteSources", "remote_sources"]


@frozen
class RemoteSources:
    """Fetches into a store, with a request's secrets. Its connections end with its block."""

    store: Store
    secrets: Secrets
    pools: Pools
    environ: Mapping[str, str]
    pins: dict[GitOp | HttpOp, str] = field(default_factory=dict, compare=False)
    """The commit or the digest of all that was fetched, for those who tell of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pools.close()

    def file(self, op: HttpOp, cancel: CancelToken) -> HttpFile:
        """Fetch a file. Raises RemoteError, IntegrityError, StoreError."""
        from polyarch.worker.source_http import open_source  # noqa: PLC0415 for ADD of an address

        endpoint_of = load_hosts(self.environ).endpoint
        source = open_source(self.store, self.secrets, self.pools, endpoint_of, cancel)
        file = source.fetch(op, cancel)
        self.pins[op] = file.digest
        return file

    def commit(self, op: GitOp, cancel: CancelToken) -> GitTree:
        """Fetch a commit. Raises RemoteError, NotFound, IntegrityError, InputError, MachineError."""
        from polyarch.worker.source_git import GitSource  # noqa: PLC0415 for repositories

        source = GitSource(store=self.store, secrets=self.secrets, environ=self.environ)
        commit = source.fetch(op, cancel)
        self.pins[op] = commit.commit
        return commit

    def look(self, op: GitOp, cancel: CancelToken, *, objects: bool = False) -> GitRef:
        """Find out what a repository has under a name. Raises as `commit`."""
        from polyarch.worker.source_git import GitSource  # noqa: PLC0415 for repositories

        source = GitSource(store=self.store, secrets=self.secrets, environ=self.environ)
        return source.look(op, cancel, objects=objects)

    def tree(self, op: HttpOp | GitOp, cancel: CancelToken) -> SourceTree:
        """Fetch what an op names, as a tree. Raises as `file` and `commit`."""
        if isinstance(op, HttpOp):
            return SourceTree(root=self.file(op, cancel).directory)
        commit = self.commit(op, cancel)
        return SourceTree(root=commit.root, revision=commit.commit)


def remote_sources(
    store: Store, secrets: Secrets, environ: Mapping[str, str] = os.environ
) -> RemoteSources:
    """Return what fetches into a store."""
    return RemoteSources(store=store, secrets=secrets, pools=Pools(environ), environ=environ)
