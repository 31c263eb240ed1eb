"""Which machines serve a registry's name, and how they are spoken to: mirrors, plain HTTP, CAs.

The settings are those of BuildKit's `buildkitd.toml`, `[registry."docker.io"]` with `mirrors`, `http`,
`insecure`, `ca`, `keypair` and `tlsconfigdir`. For each registry the last of these counts that names it:

    daemon.json        Docker's `registry-mirrors` and `insecure-registries`
    buildkitd.toml     BuildKit's, for those who come from there
    registries.toml    in polyarch's configuration directory

Variables come on top (see `_with_variables`), and what Docker's `certs.d` holds for a machine is added in any case.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from polyarch.errors import InputError
from polyarch.http.endpoint import Endpoint, is_loopback
from polyarch.paths import config_directory, read_toml
from polyarch.record import field, frozen, replace

__all__ = ["Host", "Hosts", "load_hosts"]

_ALL = "*"
"""What settings are for, if they aren't for one registry."""
_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_DOCKER_CERTIFICATES = Path("/etc/docker/certs.d")
_DOCKER_DAEMON = Path("/etc/docker/daemon.json")
_KEYS = frozenset({"mirrors", "http", "insecure", "ca", "keypair", "tlsconfigdir"})


@frozen
class Host:
    """A machine that serves a registry.

    `prefix` comes behind `/v2`, and is empty or ends with a slash. `namespace` tells a mirror whose images
    are wanted. `plain` is HTTP; with an endpoint that is insecure, HTTPS is tried first.
    """

    endpoint: Endpoint
    prefix: str = ""
    namespace: str = ""
    plain: bool = False
    sources: tuple[str, ...] = field(default=(), compare=False)
    """The files and variables that decided that, the first first."""

    @property
    def name(self) -> str:
        """Its name, with the port if it isn't the usual one."""
        return self.endpoint.host


@frozen
class _Settings:
    mirrors: tuple[str, ...] = ()
    http: bool | None = None
    insecure: bool = False
    authorities: tuple[Path, ...] = ()
    keypairs: tuple[tuple[Path, Path], ...] = ()
    directories: tuple[Path, ...] = ()
    sources: tuple[str, ...] = field(default=(), compare=False)


class Hosts:
    """Says where a registry's name leads."""

    def __init__(self, settings: Mapping[str, _Settings], certificates: Path) -> None:
        self._settings = settings
        self._certificates = certificates

    def trusting(self, domain: str) -> Hosts:
        """Return the same, but for a registry that is believed whatever it speaks, and without mirrors."""
        trusted = _Settings(http=True, insecure=True)
        return Hosts({**self._settings, domain: trusted}, self._certificates)

    def serving(self, domain: str, *, mirrors: bool) -> tuple[Host, ...]:
        """Return who serves `domain`, in the order in which they are asked: itself last.

        Mirrors are for reading only.
        """
        found = []
        if mirrors:
            for mirror in self._of(domain).mirrors:
                host, _, path = mirror.partition("/")
                prefix = f"{path.strip('/')}/" if path.strip("/") else ""
                found.append(self._host(host, prefix, domain))
        return (*found, self._host(domain, "", ""))

    def mirrors_from(self, domain: str) -> tuple[str, ...]:
        """Return the files and variables that say which mirrors a registry has."""
        found = self._of(domain)
        return found.sources if found.mirrors else ()

    def endpoint(self, name: str) -> Endpoint:
        """Return how a machine is spoken to that is named by itself, and not for a registry."""
        return self._host(name, "", "").endpoint

    def _of(self, name: str) -> _Settings:
        return self._settings.get(name) or self._settings.get(_ALL) or _Settings()

    def _host(self, name: str, prefix: str, namespace: str) -> Host:
        settings = self._of(name)
        authorities, keypairs = list(settings.authorities), list(settings.keypairs)
        sources = list(settings.sources)
        for directory in (self._certificates / name, *settings.directories):
            more, pairs = _certificates(directory)
            authorities += more
            keypairs += pairs
            if more or pairs:
                sources.append(str(directory))
        endpoint = Endpoint(
            host=_DOCKER_HUB_HOST if name == _DOCKER_HUB else name,
            insecure=settings.insecure,
            authorities=tuple(authorities),
            keypairs=tuple(keypairs),
        )
        return Host(
            endpoint=endpoint,
            prefix=prefix,
            namespace=namespace,
            # Who has been given certificates for it knows that it speaks HTTPS.
            plain=(is_loopback(name) and not authorities and not keypairs)
            if settings.http is None
            else settings.http,
            sources=tuple(sources),
        )


def load_hosts(
    environ: Mapping[str, str] = os.environ,
    certificates: Path = _DOCKER_CERTIFICATES,
    daemon: Path = _DOCKER_DAEMON,
) -> Hosts:
    """Read the settings of this user. Raises InputError naming the file."""
    own = config_directory(environ)
    buildkit = Path("/etc/buildkit") if os.geteuid() == 0 else own.parent / "buildkit"
    settings = _read_daemon(daemon)
    for path in (buildkit / "buildkitd.toml", own / "registries.toml"):
        settings.update(_read(path))
    return Hosts(_with_variables(settings, environ), certificates)


def _with_variables(
    settings: Mapping[str, _Settings], environ: Mapping[str, str]
) -> dict[str, _Settings]:
    """Return the settings with those of variables, which pipelines set where no file can be written.

    `POLYARCH_INSECURE_REGISTRIES` names registries, `*` all of them; `POLYARCH_REGISTRY_CA` files of CAs for all;
    `POLYARCH_REGISTRY_MIRRORS` mirrors of Docker Hub.
    """
    found = dict(settings)
    insecure = _listed(environ, "POLYARCH_INSECURE_REGISTRIES")
    authorities = tuple(map(Path, _listed(environ, "POLYARCH_REGISTRY_CA")))
    mirrors = _listed(environ, "POLYARCH_REGISTRY_MIRRORS")
    if authorities:
        found.setdefault(_ALL, _Settings())
        for name, each in found.items():
            more = (*each.authorities, *authorities)
            sources = (*each.sources, "$POLYARCH_REGISTRY_CA")
            found[name] = replace(each, authorities=more, sources=sources)
    for name in insecure:
        known = found.get(name, found.get(_ALL, _Settings()))
        sources = (*known.sources, "$POLYARCH_INSECURE_REGISTRIES")
        found[name] = replace(known, insecure=True, sources=sources)
    if mirrors:
        hub = found.get(_DOCKER_HUB, found.get(_ALL, _Settings()))
        sources = (*hub.sources, "$POLYARCH_REGISTRY_MIRRORS")
        found[_DOCKER_HUB] = replace(hub, mirrors=(*mirrors, *hub.mirrors), sources=sources)
    return found


def _listed(environ: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip() for each in environ.get(variable, "").split(","))))


def _read(path: Path) -> dict[str, _Settings]:
    try:
        data = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from error
    try:
        registries = read_toml(data).get("registry", {})
        if not isinstance(registries, dict):
            raise TypeError("registry is a table of tables")
        parsed = {name: _parse(table) for name, table in registries.items()}
        return {name: replace(each, sources=(str(path),)) for name, each in parsed.items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f"{path}: {error}",
            hint='a registry is set up by [registry."HOST"] with ' + ", ".join(sorted(_KEYS)),
        ) from error


def _read_daemon(path: Path) -> dict[str, _Settings]:
    """Return what the configuration of Docker's engine says of registries.

    Its mirrors are of Docker Hub. An insecure registry is spoken to in TLS that nobody checks, else in plain HTTP.
    Networks among them (`10.0.0.0/8`) aren't names, and are passed over. Raises InputError naming the file.
    """
    try:
        data = path.read_text(encoding="utf-8")
    except OSError:
        return {}  # the usual case; and a file that only the engine may read is for the engine
    # Only machines with an engine pay for it.
    import json  # noqa: PLC0415

    try:
        config = json.loads(data or "{}")
        mirrors = _texts(config, "registry-mirrors")
        insecure = [each for each in _texts(config, "insecure-registries") if "/" not in each]
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}") from error
    source = (str(path),)
    found = {name: _Settings(http=True, insecure=True, sources=source) for name in insecure}
    hosts = [mirror.partition("://") for mirror in mirrors]
    for scheme, _, host in hosts:
        if scheme == "http":
            found.setdefault(host.partition("/")[0], _Settings(http=True, sources=source))
    if mirrors:
        names = tuple(host.rstrip("/") or scheme for scheme, _, host in hosts)
        found[_DOCKER_HUB] = _Settings(mirrors=names, sources=source)
    return found


def _parse(table: Mapping[str, object]) -> _Settings:
    http = table.get("http")
    return _Settings(
        mirrors=_texts(table, "mirrors"),
        http=None if http is None else bool(http),
        insecure=bool(table.get("insecure", False)),
        authorities=tuple(map(Path, _texts(table, "ca"))),
        keypairs=tuple(_keypairs(table.get("keypair", []))),
        directories=tuple(map(Path, _texts(table, "tlsconfigdir"))),
    )


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{key} is a list of texts, not {found!r}")
    return tuple(found)


def _keypairs(tables: object) -> list[tuple[Path, Path]]:
    if not isinstance(tables, list):
        raise TypeError("keypair is a list of tables with key and cert")
    return [(Path(table["cert"]), Path(table["key"])) for table in tables]


def _certificates(directory: Path) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """Return the CAs and the client certificates in a directory laid out as Docker has it."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return [], []  # the usual case
    authorities = [directory / name for name in names if name.endswith(".crt")]
    clients = [directory / name for name in names if name.endswith(".cert")]
    return authorities, [(client, client.with_suffix(".key")) for client in clients]
