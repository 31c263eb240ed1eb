"""Which machines serve a registry's name, and how they are spoken to: mirrors, plain HTTP, CAs.

The settings are those of BuildKit's `buildkitd.toml`, `[registry."docker.io"]` with `mirrors`, `http`,
`insecure`, `ca`, `keypair` and `tlsconfigdir`. They are read from `registries.toml` in polyarch's
configuration directory and, for those who come from BuildKit, from `buildkitd.toml`; the former wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from polyarch.errors import InputError
from polyarch.http.endpoint import Endpoint, is_loopback
from polyarch.paths import config_directory, read_toml
from polyarch.record import frozen, replace

__all__ = ["Host", "Hosts", "load_hosts"]

_ALL = "*"
"""What settings are for, if they aren't for one registry."""
_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_DOCKER_CERTIFICATES = Path("/etc/docker/certs.d")
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

    def endpoint(self, name: str) -> Endpoint:
        """Return how a machine is spoken to that is named by itself, and not for a registry."""
        return self._host(name, "", "").endpoint

    def _of(self, name: str) -> _Settings:
        return self._settings.get(name) or self._settings.get(_ALL) or _Settings()

    def _host(self, name: str, prefix: str, namespace: str) -> Host:
        settings = self._of(name)
        authorities, keypairs = list(settings.authorities), list(settings.keypairs)
        for directory in (self._certificates / name, *settings.directories):
            more, pairs = _certificates(directory)
            authorities += more
            keypairs += pairs
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
        )


def load_hosts(
    environ: Mapping[str, str] = os.environ, certificates: Path = _DOCKER_CERTIFICATES
) -> Hosts:
    """Read the settings of this user. Raises InputError naming the file."""
    own = config_directory(environ)
    buildkit = Path("/etc/buildkit") if os.geteuid() == 0 else own.parent / "buildkit"
    settings: dict[str, _Settings] = {}
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
            found[name] = replace(each, authorities=(*each.authorities, *authorities))
    for name in insecure:
        found[name] = replace(found.get(name, found.get(_ALL, _Settings())), insecure=True)
    if mirrors:
        hub = found.get(_DOCKER_HUB, found.get(_ALL, _Settings()))
        found[_DOCKER_HUB] = replace(hub, mirrors=(*mirrors, *hub.mirrors))
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
        return {name: _parse(table) for name, table in registries.items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f"{path}: {error}",
            hint='a registry is set up by [registry."HOST"] with ' + ", ".join(sorted(_KEYS)),
        ) from error


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
