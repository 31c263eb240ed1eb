"""`buildkitd.toml` and what it names, as a node takes them along to where its daemon runs.

    buildkitd.toml                    with the paths that hold there
    certs/REGISTRY/FILE               CAs and keys of registries

Source: docker buildx, `util/confutil/container.go`.
"""

from __future__ import annotations

import os
import tomllib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from polyarch.builders.collecting import CONFIG_NAME
from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.text.toml import written

__all__ = ["CONFIG_PLACE", "config_files"]

CONFIG_PLACE = PurePosixPath("/etc/buildkit")
"""Where the files are, beside the daemon."""
_MOST = 1 << 20
"""Bytes of a file that are taken along."""
_NO_NAME = pattern(r"[^a-zA-Z0-9.-]+")


def config_files(path: str) -> Mapping[str, str]:
    """Return the files, in base64 by their names. Raises InputError for what can't be read or understood."""
    what = "buildkit configuration file"
    if not os.path.exists(path):
        reason = f"stat {path}: no such file or directory"
        raise InputError(f"{what} not found: {path}: {reason}")
    try:
        document = tomllib.loads(_read(path, f"{what}: ").decode())
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"failed to parse {what}: {path}: {error}") from error
    files: dict[str, bytes] = {}
    registries = document.get("registry")
    for name, settings in registries.items() if isinstance(registries, dict) else ():
        if not isinstance(settings, dict):
            raise InputError(
                f"failed to parse {what}: {path}: invalid registry config for {name!r}"
            )
        _take_along(settings, PurePosixPath("certs") / _NO_NAME.sub("_", name), files)
    files[CONFIG_NAME] = written(document).encode()
    return {name: b64encode(data).decode() for name, data in sorted(files.items())}


def _take_along(
    settings: dict[str, object], directory: PurePosixPath, files: dict[str, bytes]
) -> None:
    """Read the files that a registry's settings name, and have these name where they will be."""

    def take(path: object, kind: str) -> str:
        name = directory / os.path.basename(str(path))
        files[str(name)] = _read(str(path), f"{kind} file: ")
        return str(CONFIG_PLACE / name)

    authorities = settings.get("ca")
    if isinstance(authorities, list):
        settings["ca"] = [take(each, "CA") for each in authorities]
    pairs = settings.get("keypair")
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict):
            pair |= {kind: take(pair[kind], kind) for kind in ("key", "cert") if pair.get(kind)}


def _read(path: str, what: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MOST)
    except OSError as error:
        raise InputError(f"failed to read {what}{path}: {error.strerror}") from error
