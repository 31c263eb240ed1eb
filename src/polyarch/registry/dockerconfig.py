"""Credentials into docker's `config.json`, or into the helper that it names, and out again.

What else stands in the file stays as it is. Source: docker's documentation of `docker login`, and of
credential helpers: `docker-credential-X store` and `erase`.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyarch.errors import InputError, MachineError
from polyarch.paths import docker_config_directory, replacing
from polyarch.process import run
from polyarch.registry.credentials import HUB_HOSTS, HUB_KEY

__all__ = ["config_key", "erase", "store"]

_HUB = HUB_HOSTS | {"", HUB_KEY}
_TIMEOUT = 60.0

Json = dict[str, Any]


def config_key(server: str) -> str:
    """Return the key of a registry in `config.json`: its host, or docker's own for Docker Hub."""
    bare = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return HUB_KEY if server in _HUB or bare in _HUB else bare


def store(environ: Mapping[str, str], key: str, user: str, secret: str) -> str:
    """Keep credentials; return the path of the file if they stand in it as they are, else "".

    Raises InputError for a file that is no JSON, MachineError.
    """
    path = _path(environ)
    config = _read(path)
    auths = config.setdefault("auths", {})
    helper = _helper(config, key)
    if helper:
        record = {"ServerURL": key, "Username": user, "Secret": secret}
        _run_helper(helper, "store", json.dumps(record).encode(), environ)
        auths[key] = {}
    else:
        auths[key] = {"auth": b64encode(f"{user}:{secret}".encode()).decode()}
    _write(path, config)
    return "" if helper else str(path)


def erase(environ: Mapping[str, str], key: str) -> bool:
    """Forget credentials; return whether there were any. Raises InputError, MachineError."""
    path = _path(environ)
    config = _read(path)
    helper = _helper(config, key)
    if helper:
        _run_helper(helper, "erase", key.encode(), environ)
    known = key in config.get("auths", {})
    if known:
        del config["auths"][key]
        _write(path, config)
    return known


def _path(environ: Mapping[str, str]) -> Path:
    # People keep it as a link into a directory of their own, and that should stay so.
    return Path(os.path.realpath(docker_config_directory(environ) / "config.json"))


def _helper(config: Json, key: str) -> str:
    name = config.get("credHelpers", {}).get(key) or config.get("credsStore") or ""
    return f"docker-credential-{name}" if name else ""


def _run_helper(program: str, verb: str, data: bytes, environ: Mapping[str, str]) -> None:
    ended = run([program, verb], env=dict(environ), stdin=data, timeout=_TIMEOUT)
    if ended.status != 0:
        said = ended.stdout.decode(errors="replace").strip()
        raise MachineError(
            f"{program} can't {verb} the credentials: {said or ended}",
            hint="fix or remove the credential helper in docker's config.json",
        )


def _read(path: Path) -> Json:
    try:
        config = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"can't read {path}: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is no JSON object")
    return config


def _write(path: Path, config: Json) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            replacing(path) as aside,
            open(os.open(aside, flags, 0o600), "w", encoding="utf-8") as stream,
        ):
            json.dump(config, stream, indent="\t", ensure_ascii=False)
    except OSError as error:
        raise MachineError(f"can't write {path}: {error.strerror}") from error
