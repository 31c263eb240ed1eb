"""Build contexts that are on a client's machine: brought here as far as a build reads them.

    the Dockerfile and ignore files     before anything is understood
    files of contexts                   when the graph says which of them are read
    layouts of images                   before anything is understood

What was brought stays for the next build of the same directory, so that only changes travel; at most 16 directories do, and
they end with the server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from polyarch.dockerfile.syntax.lexer import decode
from polyarch.errors import InputError, NotFound
from polyarch.graph.graph import Graph
from polyarch.graph.reads import ALL, context_reads
from polyarch.inroot import read_small
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.progress import Sink, Step, step
from polyarch.record import field, frozen
from polyarch.request.values import is_address
from polyarch.serve.asking import Client
from polyarch.serve.receiving import Wanted, pull, receive
from polyarch.store.store import Store
from polyarch.text.ignore import read_patterns

__all__ = ["Found", "KeptDirectories", "LocalContexts", "main_address"]

DEFAULT_NAME = "Dockerfile"
_IGNORE = ".dockerignore"
_MOST_KEPT = 16
_MOST_IGNORED = 2 << 20
_LOCAL = "local:"
_CONTEXT = "context:"
_LAYOUT = "oci-layout:"
_IMAGE = "docker-image:"
_UPLOADED = "http://buildkit-session/"
_SHARED = "sharedkey:localdir:"

Key = tuple[str, str]


class KeptDirectories:
    """Directories of clients as they were last seen, by what identifies them; one build has each at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: dict[Key, Path] = {}

    def take(self, key: Key) -> Path:
        """Return the directory of a key, an empty one if there is none, or another build has it."""
        with self._lock:
            path = self._kept.pop(key, None)
        if path is None:
            path = self._store.temporary("context", many=True)
            path.mkdir(mode=0o700)
        return path

    def give_back(self, key: Key, path: Path) -> None:
        """Keep a directory; those that weren't taken for long make room."""
        with self._lock:
            old = [self._kept.pop(key)] if key in self._kept else []
            self._kept[key] = path
            while len(self._kept) > _MOST_KEPT:
                old.append(self._kept.pop(next(iter(self._kept))))
        for each in old:
            self._store.discard(each)


def main_address(attributes: Mapping[str, str]) -> str:
    """Return where the main context is if that is an address, "" else.

    docker buildx gives a repository as a graph, and its address besides: the graph fetches nothing else.
    """
    context = attributes.get(attributes.get("contextkey", "context"), "")
    return context or attributes.get("input:context", "")


@frozen
class Found:
    """Where the build context, the Dockerfile and named contexts are now, as a request names them.

    `stdin` is an archive that is the context "-".
    """

    context: str
    dockerfile: str
    stdin: bytes = field(default=b"", repr=False)
    named: Mapping[str, str] = field(default_factory=dict)


class LocalContexts:
    """The contexts of one build, by the attributes of its request; `close` lets go of them."""

    def __init__(
        self,
        client: Client,
        kept: KeptDirectories,
        attributes: Mapping[str, str],
        bring_layout: Callable[[str], str],
        bring_input: Callable[[str], str],
    ) -> None:
        """Have contexts of `client`.

        `bring_layout` makes the address of a layout here of one at the client, `bring_input` of the name of a result.
        """
        self._client = client
        self._kept = kept
        self._attributes = attributes
        self._bring_layout = bring_layout
        self._bring_input = bring_input
        self._taken: dict[Key, Path] = {}
        self._contexts: dict[str, tuple[str, Path]] = {}
        self._ignores: list[Path] = []

    def find(self) -> Found:
        """Bring what is read first. Raises NotFound for a Dockerfile that isn't there, RemoteError, Cancelled."""
        attributes = self._attributes
        address = main_address(attributes)
        if address.startswith(_UPLOADED):
            data = self._client.wait(pull(self._client.session, address))
            name = attributes.get("filename", "")
            return Found(context="-", dockerfile=name, stdin=data, named=self._named())
        is_elsewhere = bool(address) and is_address(address)
        if address and not is_elsewhere:
            raise InputError(f"a build context can't be {address}")
        dockerfile = attributes.get("filename", "") or DEFAULT_NAME
        if not is_elsewhere or "dockerfilekey" in attributes:
            dockerfile = str(self._dockerfile(dockerfile))
        context = address if is_elsewhere else str(self._context("context", "context"))
        return Found(context=context, dockerfile=dockerfile, named=self._named())

    def _named(self) -> dict[str, str]:
        names = [each for each in self._attributes if each.startswith(_CONTEXT)]
        return {
            each.removeprefix(_CONTEXT): self._place(
                each.removeprefix(_CONTEXT), self._attributes[each]
            )
            for each in names
        }

    def _place(self, key: str, value: str) -> str:
        """Return where a named context is, brought here if it is the client's. Raises InputError."""
        if value.startswith(_LOCAL):
            return str(self._context(key, value.removeprefix(_LOCAL)))
        if value.startswith(_LAYOUT):
            # Older clients leave the slashes out.
            return self._bring_layout(LAYOUT_SCHEME + value.removeprefix(_LAYOUT).lstrip("/"))
        if value.startswith(_IMAGE):
            return IMAGE_SCHEME + value.removeprefix(_IMAGE).lstrip("/")
        if value.startswith("input:"):
            return self._bring_input(value.removeprefix("input:"))
        return value

    def _dockerfile(self, name: str) -> Path:
        """Bring the Dockerfile, and its ignore file. Raises NotFound."""
        source = self._attributes.get("dockerfilekey", "dockerfile")
        directory = self._take("dockerfile", source)
        parent, slash, base = name.rpartition("/")
        names = [name]
        if base == DEFAULT_NAME:
            names.append(f"{parent}{slash}{base.lower()}")
        told = self._receive(
            Wanted(name=source, follow=[*names, f"{name}{_IGNORE}"]),
            directory,
        )
        if told.isdisjoint(names):
            raise NotFound(
                f"failed to read dockerfile: open {name}: no such file or directory",
                hint="name another one with -f",
            )
        self._ignores.append(directory / f"{name}{_IGNORE}")
        return directory / name

    def _context(self, key: str, name: str) -> Path:
        """Take the directory of a context, with its ignore file and nothing else that is new."""
        directory = self._take(key, name, self._attributes.get(f"{_SHARED}{key}", ""))
        ignore = directory / _IGNORE
        with suppress(FileNotFoundError):
            ignore.unlink()
        wanted = Wanted(name=name, follow=[_IGNORE], keeps_others=True)
        # One that isn't there is an error for whoever reads it, and many Dockerfiles don't.
        with suppress(NotFound):
            self._receive(wanted, directory)
        self._contexts[key] = (name, directory)
        return directory

    def _take(self, use: str, name: str, shared: str = "") -> Path:
        session = self._client.session
        key = (shared or session.shared_key or session.id, f"{use} {name}")
        if key not in self._taken:
            self._taken[key] = self._kept.take(key)
        return self._taken[key]

    def bring(self, graph: Graph, sink: Sink) -> None:
        """Bring what a build reads of its contexts, as `Caller.bring`."""
        for key, read in context_reads(graph).items():
            if key not in self._contexts:
                continue
            name, directory = self._contexts[key]
            own = self._ignores if key == "context" else []
            ignored = _ignored((*own, directory / _IGNORE))
            follow = [each.strip("/") or "." for each in read.paths]
            is_all = ALL in read.paths or "." in follow
            wanted = Wanted(name=name, excludes=ignored, follow=[] if is_all else follow)
            # Shown as the graph's own step, which has nothing else to do.
            with step(sink, read.step_name, read.step) as shown:
                self._transfer(f"transferring {key}:", wanted, directory, shown)

    def bring_wanted(self, use: str, wanted: Wanted, sink: Sink) -> Path:
        """Bring a directory that a graph of the client's own reads; returns where it is here."""
        directory = self._take(use, wanted.name)
        with step(sink, f"load local source {wanted.name}") as shown:
            self._transfer(f"transferring {wanted.name}:", wanted, directory, shown)
        return directory

    def _transfer(self, what: str, wanted: Wanted, directory: Path, shown: Step) -> None:
        """Bring a directory, and show how much came; how much there is nobody knows before."""
        started, sizes = time.time(), [0]

        def count(size: int) -> None:
            sizes[0] += size

        shown.status(what, started=started)
        self._receive(wanted, directory, count)
        shown.status(what, sizes[0], started=started, is_done=True)

    def _receive(
        self, wanted: Wanted, directory: Path, count: Callable[[int], None] = lambda _: None
    ) -> frozenset[str]:
        return self._client.wait(receive(self._client.session, wanted, directory, count))

    def close(self) -> None:
        """Keep the directories for the next build."""
        for key, path in self._taken.items():
            self._kept.give_back(key, path)
        self._taken.clear()


def _ignored(candidates: Iterable[Path]) -> list[str]:
    """Return the patterns of the first ignore file that is there."""
    for path in candidates:
        with suppress(OSError):
            text = decode(read_small(path.name, _MOST_IGNORED, "ignore file", root=path.parent))
            return read_patterns(text)
    return []
