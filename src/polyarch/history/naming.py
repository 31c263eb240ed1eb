"""What a build is called in lists. Source: buildx's `util/history`, `BuildName`."""

from __future__ import annotations

import os.path

from polyarch.errors import InputError
from polyarch.history.record import BuildRecord
from polyarch.request.values import is_address
from polyarch.text.giturl import parse_git_reference

__all__ = ["build_name", "repository_of"]

_FILE = "Dockerfile"


def build_name(record: BuildRecord) -> str:
    """Return the name that the user gave, else one made of directory, Dockerfile and target; "" if there are none."""
    attributes = record.attributes
    if given := attributes.get("build-arg:BUILDKIT_BUILD_NAME"):
        return given
    target = attributes.get("target", "")
    inside = attributes.get("vcs:localdir:context", ".")
    name = attributes.get("context") or ("" if inside == "." else inside)
    name = name or _place(record)
    if target:
        name = f"{name} ({target})" if name else target
    return name or attributes.get("vcs:source", "")


def _place(record: BuildRecord) -> str:
    """Return the last part of the path of the context, or of a Dockerfile elsewhere."""
    directory = _local(record.state.get("LocalPath", ""))
    file = _dockerfile(record)
    is_usual = file in {"", _FILE} or file.endswith(f"/{_FILE}")
    file = file.removesuffix(f"/{_FILE}") if file != _FILE else ""
    if file.startswith(directory) and len(file) > len(directory):
        return file[directory.rfind("/") + 1 :]
    path = file or directory
    if not path:
        return ""
    before, _, last = path.rpartition("/")
    if is_usual:
        return last
    return f"{os.path.basename(before) if before else path}/{last}"


def _dockerfile(record: BuildRecord) -> str:
    local = record.state.get("DockerfilePath", "")
    if local and local not in {"-", _FILE}:
        return local
    name = record.attributes.get("filename", "")
    inside = record.attributes.get("vcs:localdir:dockerfile", ".")
    name = "" if name == _FILE else name
    return name if inside == "." else os.path.join(inside, name).rstrip("/")


def _local(path: str) -> str:
    return "" if path == "-" or is_address(path) else path


def repository_of(record: BuildRecord) -> str:
    """Return the address of the repository that was built from, "" if that isn't known."""
    if source := record.attributes.get("vcs:source"):
        return source
    try:
        found = parse_git_reference(record.attributes.get("context", ""))
    except InputError:
        return ""
    return found.remote if found is not None else ""
