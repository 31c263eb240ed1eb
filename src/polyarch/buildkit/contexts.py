"""What of a request is on this machine, made ready for a daemon: directories and layouts that it may read.

Contexts that are addresses are the daemon's own to fetch, with the Dockerfile in them unless that is here.

Source: buildx's `build/opt.go`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from polyarch.buildkit.files import Directory
from polyarch.errors import ContextNotFound, InputError
from polyarch.images.layout import Layout, open_layout, parse_layout
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.request.values import BuildRequest, is_address
from polyarch.text.giturl import parse_git_reference, with_fragment
from polyarch.worker.archive import unpack_archive
from polyarch.worker.users import Owner

__all__ = ["Contexts", "Offered"]

_OWN = frozenset({"context", "dockerfile"})
"""Names that daemons know directories by; contexts of these names have another one."""
_NAMED = "moby.buildkit.frontend.contexts+forward"
_QUERY = "moby.buildkit.frontend.gitquerystring"


class Offered(Protocol):
    """What a daemon may read of this machine. It may become known only while the build goes on."""

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """Stores of content by their IDs."""

    def directories(self) -> Mapping[str, Directory]:
        """Return the directories that the daemon may read."""

    def attributes(self) -> Mapping[str, str]:
        """Return what the frontend must know beside the request."""


class Contexts:
    """The contexts of a request and its Dockerfile, by the daemon's names. Making one raises ContextNotFound, InputError."""

    def __init__(self, request: BuildRequest, scratch: Path, *, has_queries: bool = True) -> None:
        """`has_queries` says that frontends may have to understand the queries of repositories' addresses."""
        self._has_queries = has_queries
        self._request = request
        self._scratch = scratch
        self.layouts: dict[str, Layout] = {}
        """Stores of content by their IDs."""
        self._found: dict[str, Path] = {}
        self._told: dict[str, str] = {}
        self._capabilities: set[str] = set()
        self._main()
        self._dockerfile()
        for name, value in request.build_contexts.items():
            self._named(name, value)

    def directories(self) -> dict[str, Directory]:
        """Return the directories that the daemon may read."""
        return {name: Directory(path) for name, path in self._found.items()}

    def attributes(self) -> Mapping[str, str]:
        """Return what the frontend must know beside the request."""
        # Older frontends are told what they have to know, or else to hand it on to a newer one.
        needs = ",".join(sorted(self._capabilities))
        return {**self._told, **({"frontend.caps": needs} if needs else {})}

    def _main(self) -> None:
        context = self._request.context
        if context == "-":
            self._found["context"] = self._from_stdin()
        elif is_address(context) and not Path(context).is_dir():
            self._address("context", context, _QUERY)
        elif Path(context).is_dir():
            self._found["context"] = Path(context)
        else:
            raise ContextNotFound(
                f'unable to prepare context: path "{context}" not found',
                hint="the last argument is the directory of the build context, often a single dot",
            )

    def _from_stdin(self) -> Path:
        """Return a directory with the archive, or the Dockerfile alone, that standard input holds."""
        directory = self._scratch / "context"
        directory.mkdir()
        archive = self._scratch / "stdin"
        archive.write_bytes(self._request.stdin)
        owner = Owner(uid=os.geteuid(), gid=os.getegid())
        if not unpack_archive(archive, directory, "/", owner, []):
            if self._request.dockerfile not in {"", "-"}:
                raise InputError(
                    "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"
                )
            (directory / "Dockerfile").write_bytes(self._request.stdin)
        return directory

    def _dockerfile(self) -> None:
        name = self._request.dockerfile
        main = self._found.get("context")
        if name == "-":
            directory = self._scratch / "dockerfile"
            directory.mkdir()
            (directory / "Dockerfile").write_bytes(self._request.stdin)
            self._local_dockerfile(directory, "Dockerfile")
        elif main is None or self._request.context == "-":
            # The name is one in the context, unless it can't be.
            if os.path.isabs(name) and main is None:
                self._local_dockerfile(Path(name).parent, Path(name).name)
            else:
                self._told["filename"] = name or "Dockerfile"
                if main is not None:
                    self._found["dockerfile"] = main
        else:
            self._found["dockerfile"] = Path(name).parent if name else main

    def _local_dockerfile(self, directory: Path, name: str) -> None:
        self._found["dockerfile"] = directory
        self._told |= {"filename": name, "dockerfilekey": "dockerfile"}

    def _named(self, name: str, value: str) -> None:
        self._capabilities.add(_NAMED)
        if value.startswith((IMAGE_SCHEME, "input:", "target:")):
            return
        if value.startswith(LAYOUT_SCHEME):
            self._told[f"context:{name}"] = self._layout(value)
        elif Path(value).is_dir():
            own = f"_{name}" if name in _OWN else name
            self._found[own] = Path(value)
            self._told[f"context:{name}"] = f"local:{own}"
        elif is_address(value):
            self._address(f"context:{name}", value, f"{_QUERY}+forward")
        else:
            raise ContextNotFound(f"failed to get build context {name}: {value} is no directory")

    def _layout(self, text: str) -> str:
        """Return the address of a layout's image in a store of content that the daemon asks us for."""
        address = parse_layout(text)
        layout = open_layout(address)
        descriptor, _ = layout.load(address.target)
        store = os.urandom(12).hex()
        self.layouts[f"oci:{store}"] = layout
        return f"{LAYOUT_SCHEME}{store}@{descriptor.digest}"

    def _address(self, name: str, address: str, capability: str) -> None:
        """Have a frontend that doesn't know of queries say so, instead of building something else."""
        if "?" not in address or parse_git_reference(address) is None:
            return
        plain = address if self._has_queries else with_fragment(address)
        if plain == address:
            self._capabilities.add(capability)
        else:
            self._told[name] = plain
