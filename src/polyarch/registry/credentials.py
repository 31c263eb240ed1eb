"""Who the user is at a registry: what `docker login` has left, read when a registry asks for it.

Sources, the first that knows wins:

- `$DOCKER_AUTH_CONFIG`;
- of docker buildx's scoped credentials (`scoped`) the narrowest that fits, in the place of what follows;
- Docker's `config.json`: the credential helper of the host or the one for all hosts (programs `docker-credential-X`), and
  the texts there;
- the `auth.json` of podman, buildah and skopeo, which is of the same form: `$REGISTRY_AUTH_FILE`, that of the session, that of
  the user.

A text may be for a part of a registry, `host/path`: the longest one that a repository lies in comes before that of the
host. `dhi.io` and `registry.scout.docker.com` are Docker Hub's, and know its users.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyarch.errors import InputError, MachineError, PolyarchError
from polyarch.paths import buildx_directory, config_directory, docker_config_directory, user_id
from polyarch.record import field, frozen, replace
from polyarch.registry.scoped import Scoped, find_scoped, repository_of

__all__ = ["ANONYMOUS", "HUB_HOSTS", "HUB_KEY", "Choice", "Credential", "Credentials", "RunHelper"]

HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
HUB_KEY = "https://index.docker.io/v1/"
_HUB = "docker.io"
_OF_HUB = frozenset({"dhi.io", "registry.scout.docker.com"})
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


@frozen
class Choice:
    """Which of a registry's credentials count for a repository: those of a file, of a part of the registry.

    Both are empty for those of the registry.
    """

    scoped: Path | None = None
    part: str = ""


def _run_helper(program: str, host: bytes) -> Completed:
    # Only those who have a helper pay for what starts it.
    from polyarch.process import run  # noqa: PLC0415

    # Helpers talk to keychains through whatever the session has set up.
    return run([program, "get"], env=dict(os.environ), stdin=host, timeout=_HELPER_TIMEOUT)


class Credentials:
    """Credentials by host; each is looked up once, and again when a registry refuses what was found."""

    def __init__(
        self, environ: Mapping[str, str] = os.environ, run_helper: RunHelper = _run_helper
    ) -> None:
        self._environ = environ
        self._run_helper = run_helper
        self._found: dict[tuple[str, Choice], Credential] = {}
        self._files: dict[Path, Json] = {}
        self._scoped: tuple[Scoped, ...] | None = None
        self._lock = threading.RLock()

    def find(self, host: str, scopes: Iterable[str] = (), *, again: bool = False) -> Credential:
        """Return who the user is at `host` (with its port), by the files and helpers of now if `again`.

        `scopes` say what for, as a registry's tokens have it (`repository:NAME:pull`). Raises InputError, MachineError.
        """
        with self._lock:
            if again:
                self._files.clear()
            choice = self.choose(host, scopes)
            if again or (host, choice) not in self._found:
                self._found[host, choice] = self._look_up(host, choice)
            return self._found[host, choice]

    def choose(self, host: str, scopes: Iterable[str]) -> Choice:
        """Tell which of a registry's credentials count. Nothing is raised: what can't be read is told by `find`."""
        scopes = tuple(scopes)
        repository = repository_of(scopes)
        if not repository:
            return Choice()
        hosts = HUB_HOSTS if host in HUB_HOSTS else {host}
        name = f"{_HUB if host in HUB_HOSTS else host}/{repository}"
        with self._lock:
            if self._scoped is None:
                self._scoped = find_scoped(buildx_directory(self._environ) / "config")
            fitting = [each for each in self._scoped if each.host in hosts and each.fits(scopes)]
            if fitting:
                return Choice(scoped=max(fitting, key=Scoped.narrowness).file)
            parts = [key for key in self._keys() if f"{name}/".startswith(f"{key}/") and "/" in key]
        return Choice(part=max(parts, key=len, default=""))

    def _keys(self) -> Iterator[str]:
        """Give what there are texts for, as far as files can be read."""
        sources: list[Callable[[], Json]] = [
            self._variable,
            *(partial(self._read, path) for path in self._paths()),
        ]
        for source in sources:
            with suppress(PolyarchError):
                yield from source().get("auths") or {}

    def _variable(self) -> Json:
        text = self._environ.get("DOCKER_AUTH_CONFIG")
        return _object(text, "$DOCKER_AUTH_CONFIG") if text else {}

    def _paths(self) -> list[Path]:
        docker = docker_config_directory(self._environ) / "config.json"
        return [docker, *_auth_files(self._environ)]

    def _read(self, path: Path) -> Json:
        if path not in self._files:
            self._files[path] = _read(path)
        return self._files[path]

    def _look_up(self, host: str, choice: Choice) -> Credential:
        key = HUB_KEY if host in HUB_HOSTS else host
        found = _from_auths(self._variable(), key, choice.part)
        if found is not None:
            return replace(found, source="$DOCKER_AUTH_CONFIG")
        if choice.scoped is not None:
            return self._from(self._read(choice.scoped), key, choice, choice.scoped) or ANONYMOUS
        docker, *containers = self._paths()
        found = self._from(self._read(docker), key, choice, docker)
        # For containers' programs Docker Hub is a registry like others.
        own = _HUB if key == HUB_KEY else key
        for path in containers:
            if found is None:
                found = self._from(self._read(path), own, choice, path)
        if found is None and host in _OF_HUB:
            return self._look_up(_HUB, Choice())
        return found or ANONYMOUS

    def _from(self, config: Json, key: str, choice: Choice, path: Path) -> Credential | None:
        if choice.part in (config.get("auths") or {}):
            part = _from_auths(config, "", choice.part)
            if part is not None:
                return replace(part, source=f"{path}, for {choice.part}")
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
    directories = [config_directory(environ).parent]
    if session := environ.get("XDG_RUNTIME_DIR"):
        directories.insert(0, Path(session))
    elif os.access(session := f"/run/containers/{user_id(environ)}", os.X_OK):
        # Above it may lie a directory of root's that nobody else can look into.
        directories.insert(0, Path(session))
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


def _from_auths(config: Json, key: str, part: str = "") -> Credential | None:
    auths = config.get("auths") or {}
    if part and auths.get(part):
        return _decode(auths[part], part)
    entry = auths.get(key)
    if entry is None and key:
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
