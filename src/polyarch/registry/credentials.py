"""Who the user is at a registry: what `docker login` has left, read when a registry asks for it.

Sources, the first that knows wins: `$DOCKER_AUTH_CONFIG`; in Docker's `config.json` the credential helper of the host or
the one for all hosts (programs `docker-credential-X`), and the texts there; the `auth.json` of podman, buildah
and skopeo, which is of the same form: `$REGISTRY_AUTH_FILE`, that of the session, that of the user.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyarch.errors import InputError, MachineError
from polyarch.paths import config_directory, docker_config_directory
from polyarch.record import field, frozen, replace

__all__ = ["ANONYMOUS", "HUB_HOSTS", "HUB_KEY", "Credential", "Credentials", "RunHelper"]

HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
HUB_KEY = "https://index.docker.io/v1/"
# How helpers say that the secret is an identity token.
_NO_USER = "<token>"
_NOT_FOUND = b"credentials not found in native keychain"
_HELPER_TIMEOUT = 60.0

Json = dict[str, Any]
if TYPE_CHECKING:
    from polyarch.process import Completed

RunHelper = Callable[[str, bytes], "Completed"]
"""Runs a credential helper's `get` with the host on standard input."""


@frozen
class Credential:
    """A user at a registry. Tokens win over a password; all is empty for nobody."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    source: str = field(default="", compare=False)
    """The variable, file or program that knew."""


ANONYMOUS = Credential()


def _run_helper(program: str, host: bytes) -> Completed:
    # Only those who have a helper pay for what starts it.
    from polyarch.process import run  # noqa: PLC0415

    # Helpers talk to keychains through whatever the session has set up.
    return run([program, "get"], env=dict(os.environ), stdin=host, timeout=_HELPER_TIMEOUT)


class Credentials:
    """Credentials by host; each host is looked up once, and again when a registry refuses what was found."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, run_helper: RunHelper = _run_helper
    ) -> None:
        self._environ = environ
        self._run_helper = run_helper
        self._found: dict[str, Credential] = {}
        self._config: Json | None = None
        self._lock = threading.Lock()

    def find(self, host: str, *, again: bool = False) -> Credential:
        """Return who the user is at `host` (with its port), by the files and helpers of now if `again`.

        Raises InputError, MachineError.
        """
        with self._lock:
            if again:
                self._config = None
            if again or host not in self._found:
                self._found[host] = self._look_up(host)
            return self._found[host]

    def _look_up(self, host: str) -> Credential:
        key = HUB_KEY if host in HUB_HOSTS else host
        if text := self._environ.get("DOCKER_AUTH_CONFIG"):
            source = "$DOCKER_AUTH_CONFIG"
            found = _from_auths(_object(text, source), key)
            if found is not None:
                return replace(found, source=source)
        path = docker_config_directory(self._environ) / "config.json"
        if self._config is None:
            self._config = _read(path)
        found = self._from(self._config, key, path)
        if found is not None:
            return found
        # For containers' programs Docker Hub is a registry like others.
        own = "docker.io" if key == HUB_KEY else key
        for path in _auth_files(self._environ):
            found = self._from(_read(path), own, path)
            if found is not None:
                return found
        return ANONYMOUS

    def _from(self, config: Json, key: str, path: Path) -> Credential | None:
        helper = config.get("credHelpers", {}).get(key) or config.get("credsStore")
        if helper:
            program = f"docker-credential-{helper}"
            asked = self._ask(program, key)
            source = f"{program}, which {path} names"
            return replace(asked, source=source) if asked != ANONYMOUS else None
        found = _from_auths(config, key)
        return None if found is None else replace(found, source=str(path))

    def _ask(self, program: str, key: str) -> Credential:
        done = self._run_helper(program, key.encode())
        if done.status != 0:
            if _NOT_FOUND in done.stdout + done.stderr:
                return ANONYMOUS
            raise MachineError(
                f"can't get the credentials of {key}: {done}",
                hint="fix or remove the credential helper in Docker's config.json",
            )
        answer = _object(done.stdout.decode(errors="replace"), program)
        user, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
        if user == _NO_USER:
            return Credential(identity_token=secret)
        return Credential(user=user, password=secret)


def _auth_files(environ: Mapping[str, str]) -> list[Path]:
    """Return where containers' programs keep credentials. Source: containers-auth.json(5)."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return [Path(named)]
    directories = [Path(environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.geteuid()}")]
    directories.append(config_directory(environ).parent)
    return [directory / "containers" / "auth.json" for directory in directories]


def _read(path: Path) -> Json:
    try:
        return _object(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from error


def _object(text: str, source: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{source} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{source} is no JSON object")
    return value


def _from_auths(config: Json, key: str) -> Credential | None:
    auths = config.get("auths") or {}
    entry = auths.get(key)
    if entry is None:
        same = (each for stored, each in auths.items() if _bare(stored) == _bare(key))
        entry = next(same, None)
    return None if not entry else _decode(entry, key)


def _bare(key: str) -> str:
    """Strip scheme and path: what people have stored as "https://host/v1/" is "host"."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _decode(entry: Json, key: str) -> Credential:
    user, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if auth := entry.get("auth"):
        try:
            user, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (ValueError, TypeError) as error:
            raise InputError(_bad_auth(key), hint=f"log in again at {key}") from error
        if not colon or not user:
            raise InputError(_bad_auth(key), hint=f"log in again at {key}")
    return Credential(
        user=user,
        password=password.rstrip("\0"),
        identity_token=str(entry.get("identitytoken", "")),
        registry_token=str(entry.get("registrytoken", "")),
    )


def _bad_auth(key: str) -> str:
    return f'the "auth" of {key} in Docker\'s config.json is not user:password in base64'
