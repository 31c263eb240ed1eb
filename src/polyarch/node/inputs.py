"""What a build reads of this machine: the Dockerfile, its ignore file, the build contexts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from polyarch.dockerfile.lexer import decode
from polyarch.errors import InputError, NotFound
from polyarch.graph.location import SourceText
from polyarch.record import field, frozen
from polyarch.request import BuildRequest, is_address
from polyarch.store.statindex import StatIndex
from polyarch.text.ignore import Matcher, read_patterns
from polyarch.worker.source_local import ContextDigests, open_context
from polyarch.worker.tree import SourceTree

__all__ = ["Contexts", "load_contexts", "read_dockerfile"]

DEFAULT_NAME = "Dockerfile"
MAX_DOCKERFILE = 2 << 20
_ARCHIVE_MAGICS = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


def _is_archive(data: bytes) -> bool:
    return data.startswith(_ARCHIVE_MAGICS) or data[257:262] == b"ustar"


def read_dockerfile(request: BuildRequest) -> SourceText:
    """Read the Dockerfile that the request names. Raises NotFound, InputError."""
    if request.dockerfile == "-" or (request.context == "-" and not request.dockerfile):
        if _is_archive(request.stdin):
            raise InputError(
                "an archive on standard input can't be a build context yet",
                hint="unpack it into a folder and name that",
            )
        return SourceText(name=DEFAULT_NAME, text=decode(request.stdin))
    if request.context == "-":
        raise InputError("a Dockerfile can't be named when the build context is standard input")
    path = _dockerfile_path(request)
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_DOCKERFILE + 1)
    except OSError as error:
        raise NotFound(
            f"failed to read dockerfile: open {request.dockerfile or path.name}: "
            f"{(error.strerror or str(error)).lower()}",
            hint=f"looked for {path}; name another one with -f",
        ) from error
    if len(data) > MAX_DOCKERFILE:
        raise InputError(f"{path} is larger than {MAX_DOCKERFILE >> 20} MiB: that is no Dockerfile")
    return SourceText(name=path.name, text=decode(data))


def _dockerfile_path(request: BuildRequest) -> Path:
    if request.dockerfile:
        return Path(request.dockerfile)
    folder = _folder(request.context)
    path = folder / DEFAULT_NAME
    lower = folder / DEFAULT_NAME.lower()
    return lower if not path.exists() and lower.exists() else path


def _folder(context: str) -> Path:
    if is_address(context):
        raise InputError(
            f"the build context {context} is remote, which can't be carried out yet",
            hint="fetch it into a folder and name that",
        )
    path = Path(context)
    if not path.is_dir():
        problem = "is no folder" if path.exists() else "not found"
        raise NotFound(
            f'unable to prepare context: path "{context}" {problem}',
            hint="the last argument is the folder of the build context, often a single dot",
        )
    return path


def _named_folder(name: str, value: str) -> Path:
    path = Path(value)
    if not is_address(value) and not path.is_dir():
        problem = "is no folder" if path.exists() else "not found"
        raise NotFound(
            f'failed to get build context {name}: path "{value}" {problem}',
            hint=f"--build-context {name}=... names a folder, an image as docker-image://, "
            "or an OCI layout as oci-layout://",
        )
    return _folder(value)


@frozen
class Contexts:
    """The build contexts of a request by name, and what remembers their files' digests."""

    trees: Mapping[str, SourceTree]
    digests: tuple[ContextDigests, ...] = field(repr=False)

    def save(self) -> None:
        """Remember the digests for the next build."""
        for each in self.digests:
            each.save()


def load_contexts(request: BuildRequest, index: StatIndex, empty: Path) -> Contexts:
    """Find the request's contexts that are folders; nothing is read yet.

    `empty` stands for the context when that is standard input. Raises NotFound, InputError.
    """
    folders: dict[str, tuple[Path, Matcher | None]] = {}
    if request.context == "-":
        folders["context"] = (empty, None)
    else:
        folder = _folder(request.context)
        folders["context"] = (folder, _matcher(folder, _dockerfile_path(request), request))
    for name, value in request.build_contexts.items():
        if not re.match(r"[a-z-]+:(//)?", value) and value:
            folder = _named_folder(name, value)
            folders[name.partition("::")[0]] = (folder, _matcher(folder, None, request))
    trees, digests = {}, []
    for name, (folder, matcher) in folders.items():
        known = ContextDigests(index, folder.resolve())
        digests.append(known)
        trees[name] = open_context(folder, matcher, known)
    return Contexts(trees=trees, digests=tuple(digests))


def _matcher(folder: Path, dockerfile: Path | None, request: BuildRequest) -> Matcher | None:
    """Read the ignore file: that of the Dockerfile if there is one, else the context's."""
    candidates = [folder / ".dockerignore"]
    if dockerfile is not None and request.dockerfile != "-":
        candidates.insert(0, dockerfile.with_name(dockerfile.name + ".dockerignore"))
    for path in candidates:
        try:
            text = decode(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"can't read {path}: {error.strerror}") from error
        patterns = read_patterns(text)
        return Matcher(patterns) if patterns else None
    return None
