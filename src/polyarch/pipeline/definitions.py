"""Definitions of bake that are elsewhere: repositories, archives and single files of web servers.

They are fetched as build contexts are, before anything of a build is known.

Source: behaviour of buildx's `bake/remote.go` and `bake/gitauth.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from polyarch.bakefile.access import MOST_BYTES, RemoteFile, Tree
from polyarch.errors import InputError
from polyarch.golang.units import human_size
from polyarch.http.origin import redacted
from polyarch.pipeline.fetched import Fetcher
from polyarch.progress import CancelToken, Sink
from polyarch.record import field, frozen
from polyarch.store.store import Store
from polyarch.worker.keyagent import Agents
from polyarch.worker.remote import remote_sources
from polyarch.worker.secrets import Secrets, SecretSource

__all__ = ["Definitions", "git_secrets"]

_SECRETS = {
    "GIT_AUTH_TOKEN": "BUILDX_BAKE_GIT_AUTH_TOKEN",
    "GIT_AUTH_HEADER": "BUILDX_BAKE_GIT_AUTH_HEADER",
}
_KEYS = "BUILDX_BAKE_GIT_SSH"


def git_secrets(address: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a repository's server is shown: names of secrets, and the variables that hold them."""
    host = urlsplit(address).netloc.rpartition("@")[2]
    names = {name.upper(): name for name in environ}
    return {
        f"{secret}.{host}": names[variable]
        for secret, variable in _SECRETS.items()
        if host and variable in names
    }


@frozen
class Definitions:
    """Fetches definitions into a store; what was fetched is there as long as the store is open."""

    store: Store
    sink: Sink
    cancel: CancelToken
    environ: Mapping[str, str] = field(repr=False)

    def fetch(self, address: str) -> Tree | RemoteFile:
        """Fetch what an address names. Raises as `Fetcher.fetch`, InputError for a file of more than 2 MiB."""
        with self._fetcher(address) as fetcher:
            found = fetcher.fetch(address)
        if found is None:
            raise InputError(f"{redacted(address)} is no address of a repository or a file")
        if not found.dockerfile:
            return Tree(address=address, root=found.tree.root)
        if (found.tree.root / found.dockerfile).stat().st_size > MOST_BYTES:
            most = human_size(MOST_BYTES)
            raise InputError(
                f"non-archive definition URL bigger than maximum allowed size ({most})"
            )
        return RemoteFile(address=address, data=found.read(found.dockerfile, MOST_BYTES))

    @contextmanager
    def _fetcher(self, address: str) -> Iterator[Fetcher]:
        def directory() -> Path:
            return self.store.temporary("definition")

        sources = {
            name: SecretSource(env=variable)
            for name, variable in git_secrets(address, self.environ).items()
        }
        named = [each for each in self.environ.get(_KEYS, "").split(",") if each]
        paths = named or [self.environ.get("SSH_AUTH_SOCK", "")]
        sockets = {"default": paths[0]} if Path(paths[0]).is_socket() else {}
        keys = {"default": tuple(named)} if named and not sockets else {}
        with ExitStack() as stack:
            agents = Agents(sockets, keys, lambda: self.store.temporary("agent"))
            secrets = Secrets(
                sources=sources, agents=stack.enter_context(agents), environ=self.environ
            )
            remote = stack.enter_context(remote_sources(self.store, secrets, self.environ))
            yield Fetcher(remote=remote, directory=directory, sink=self.sink, cancel=self.cancel)
