"""Which machines serve a registry's name, and how they are spoken to: mirrors, plain HTTP, CAs.

Settings are read from the files of all programs that have some, in this order; of those that name a registry, or a part of it,
the last one counts, as a whole:

    daemon.json        Docker's `registry-mirrors` and `insecure-registries`: in /etc/docker, then in ~/.config/docker
    hosts.toml         containerd's, in /etc/containerd/certs.d, then in ~/.config/containerd/certs.d
    registries.conf    of podman, buildah and skopeo, with registries.conf.d
    buildkitd.toml     BuildKit's: in /etc/buildkit for root, in ~/.config/buildkit for others
    registries.toml    in polyarch's configuration directory, of the form of BuildKit's

In one program's files the narrowest scope counts. What is said of all registries (`_default`, `*`) counts for those of
which nothing else is said, in the same order. Variables come on top (see `Overrides`), and what directories of certificates
(`certs.d` of Docker and of containers' programs) hold for a machine is added in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from polyarch.errors import InputError
from polyarch.http.endpoint import Endpoint, is_loopback
from polyarch.paths import config_directory, is_machine_root
from polyarch.record import field, frozen, replace
from polyarch.registry.authorities import Authority, find_authorities
from polyarch.registry.settings.buildkit import read_registries
from polyarch.registry.settings.containerd import ContainerdHosts
from polyarch.registry.settings.containers import containers_files, read_containers
from polyarch.registry.settings.docker import read_daemon
from polyarch.registry.settings.rules import (
    EVERYTHING,
    Level,
    Manner,
    Rule,
    Rules,
    Way,
    in_network,
    is_network,
    mirror_way,
)
from polyarch.registry.settings.texts import StrPath, certificates_in

__all__ = ["Host", "Hosts", "Overrides", "load_hosts"]

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_ROOT = "/v2/"


@frozen
class Host:
    """A machine that serves a registry.

    `base` is the path before the names of repositories, and ends with a slash; of a name `drops` is left out, which ends
    with one, too. `namespace` tells a mirror whose images are wanted. `plain` is HTTP; with an endpoint that is
    insecure, HTTPS is tried first. `headers` go to this machine alone.
    """

    endpoint: Endpoint
    base: str = _ROOT
    drops: str = ""
    namespace: str = ""
    plain: bool = False
    is_mirror: bool = False
    resolves: bool = True
    """Whether it may say what a tag stands for."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    sources: tuple[str, ...] = field(default=(), compare=False)
    """The files and variables that decided that, the first first."""

    @property
    def name(self) -> str:
        """Its name, with the port if it isn't the usual one."""
        return self.endpoint.host

    def path(self, path: str) -> str:
        """Return where something of the API is at this machine: `path` begins with the name of a repository."""
        return self.base + path.removeprefix(self.drops)

    def repository(self, name: str) -> str:
        """Return what a repository is called at this machine."""
        before = self.base.removeprefix(_ROOT) if self.base.startswith(_ROOT) else ""
        return before + f"{name}/".removeprefix(self.drops).rstrip("/")


@frozen
class Overrides:
    """What variables say, for pipelines in which no file can be written.

    `POLYARCH_INSECURE_REGISTRIES` names registries and networks, `*` all of them; `POLYARCH_REGISTRY_CA` files of CAs for all;
    `POLYARCH_REGISTRY_MIRRORS` mirrors of Docker Hub, which come before others.
    """

    insecure: tuple[str, ...] = ()
    authorities: tuple[Path, ...] = ()
    mirrors: tuple[str, ...] = ()
    everywhere: tuple[Authority, ...] = ()
    """CAs that steps trust as well."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Overrides:
        """Read the variables."""
        return cls(
            insecure=_listed(environ, "POLYARCH_INSECURE_REGISTRIES"),
            authorities=tuple(map(Path, _listed(environ, "POLYARCH_REGISTRY_CA"))),
            mirrors=_listed(environ, "POLYARCH_REGISTRY_MIRRORS"),
            everywhere=find_authorities(environ),
        )

    def on(self, rule: Rule, domain: str) -> Rule:
        """Return what is said of a registry by files and variables together."""
        manner, sources = rule.manner, rule.sources
        if any(_names(each, domain) for each in self.insecure):
            manner = replace(manner, insecure=True)
            sources = (*sources, "$POLYARCH_INSECURE_REGISTRIES")
        ways = rule.ways
        if self.mirrors and domain == _DOCKER_HUB:
            ways = (*map(mirror_way, self.mirrors), *ways)
            sources = (*sources, "$POLYARCH_REGISTRY_MIRRORS")
        return replace(rule, manner=manner, ways=ways, sources=sources)

    def trusted(self, manner: Manner) -> tuple[Manner, tuple[str, ...]]:
        """Return a manner with the CAs that count for all registries, and what says so."""
        if not self.authorities:
            return manner, ()
        more = (*manner.authorities, *self.authorities)
        return replace(manner, authorities=more), ("$POLYARCH_REGISTRY_CA",)


class Hosts:
    """Says where a registry's name leads."""

    def __init__(
        self,
        levels: Sequence[Level] = (),
        certificates: Sequence[StrPath] = (),
        overrides: Overrides | None = None,
    ) -> None:
        """Of `levels` the last counts that names a registry; `certificates` are directories as Docker's `certs.d`."""
        self._levels = tuple(reversed(levels))
        self._certificates = tuple(certificates)
        self._overrides = overrides or Overrides()
        # Each request asks, and some files are only read when somebody does.
        self._asked: dict[tuple[str, str, str], tuple[Host, ...]] = {}

    def trusting(self, domain: str) -> Hosts:
        """Return the same, but for a registry that is believed whatever it speaks, and without mirrors."""
        trusted = Rule(scope=domain, manner=Manner(http=True, insecure=True))
        levels = (*reversed(self._levels), Rules(rules=(trusted,)))
        return Hosts(levels, self._certificates, self._overrides)

    def reading(self, domain: str, path: str, *, by_tag: bool) -> tuple[Host, ...]:
        """Return who is asked for a repository's images, in this order: the registry itself, or who stands for it, last.

        `by_tag` is for what a tag stands for, which not all are believed about. Raises InputError for what is blocked.
        """
        key = ("tag" if by_tag else "content", domain, path)
        if key not in self._asked:
            self._asked[key] = self._readers(domain, path, by_tag=by_tag)
        return self._asked[key]

    def _readers(self, domain: str, path: str, *, by_tag: bool) -> tuple[Host, ...]:
        rule = self._open(domain, path)
        asked = [way for way in (*rule.ways, rule.own) if (way.resolves if by_tag else way.reads)]
        # Somebody has to answer; and who may not is the registry itself, which says so.
        return tuple(self._way(way, rule, domain) for way in asked or [rule.own])

    def writing(self, domain: str, path: str) -> Host:
        """Return where what is pushed goes: the registry itself, unless somebody else is named for it.

        Raises InputError for what is blocked.
        """
        key = ("push", domain, path)
        if key not in self._asked:
            self._asked[key] = (self._writer(domain, path),)
        return self._asked[key][0]

    def _writer(self, domain: str, path: str) -> Host:
        rule = self._open(domain, path)
        writers = (way for way in (*rule.ways, rule.own) if way.writes)
        return self._way(next(writers, Way()), rule, domain)

    def endpoint(self, name: str) -> Endpoint:
        """Return how a machine is spoken to that is named by itself, and not for a registry."""
        return self._way(Way(), self._rule(name, ""), name).endpoint

    def blocked_by(self, domain: str, path: str) -> tuple[str, ...]:
        """Return the files that forbid a repository."""
        rule = self._rule(domain, path)
        return rule.sources if rule.is_blocked else ()

    def scope(self, domain: str, path: str) -> str:
        """Return what the settings that count are for: a registry, a part of it, a network; "" if there are none."""
        rule = self._rule(domain, path)
        return rule.scope or rule.network

    def passed_over(self, domain: str, path: str) -> tuple[str, ...]:
        """Return the files that name a registry as well, but don't count, as others come after them."""
        _, *others = [*self._found(domain, path), Rule()]
        return tuple(source for rule in others for source in rule.sources)

    def _open(self, domain: str, path: str) -> Rule:
        rule = self._rule(domain, path)
        if rule.is_blocked:
            raise InputError(
                f"{domain}/{path} is blocked by {', '.join(rule.sources)}",
                hint=f'take out "blocked = true" for {rule.scope}, or use another image',
            )
        return rule

    def _rule(self, domain: str, path: str) -> Rule:
        return self._overrides.on(next(self._found(domain, path), Rule()), domain)

    def _found(self, domain: str, path: str) -> Iterator[Rule]:
        """Give what is said of a registry, what counts most first."""
        for level in self._levels:
            rule = level.find(domain, path)
            if rule is not None:
                yield rule
        for level in self._levels:
            rule = level.find_general()
            if rule is not None:
                yield rule

    def _way(self, way: Way, rule: Rule, domain: str) -> Host:
        name = way.host or domain
        manner, sources = way.manner, rule.sources
        if not way.host:
            manner = rule.manner
        elif manner is None:
            named = self._rule(name, "")
            manner, sources = named.manner, (*rule.sources, *named.sources)
        manner, more = self._overrides.trusted(manner)
        manner, directories = self._certified(manner, name)
        general = self._overrides.everywhere
        endpoint = Endpoint(
            host=_DOCKER_HUB_HOST if name == _DOCKER_HUB else name,
            insecure=manner.insecure,
            # Those of everyone are no sign that a registry of this machine speaks HTTPS.
            authorities=(*manner.authorities, *(each.path for each in general)),
            keypairs=manner.keypairs,
        )
        is_mirror = bool(way.host) and way is not rule.own
        is_elsewhere = bool(way.host) and endpoint.host not in {domain, _DOCKER_HUB_HOST}
        return Host(
            endpoint=endpoint,
            base=way.base,
            drops=way.drops,
            namespace=domain if is_elsewhere and way.is_told else "",
            plain=_is_plain(name, manner),
            is_mirror=is_mirror,
            resolves=way.resolves,
            headers=manner.headers,
            sources=tuple(
                dict.fromkeys((*sources, *more, *directories, *(each.source for each in general)))
            ),
        )

    def _certified(self, manner: Manner, name: str) -> tuple[Manner, tuple[str, ...]]:
        """Return a manner with the certificates of directories, and those directories."""
        authorities, keypairs = list(manner.authorities), list(manner.keypairs)
        found = []
        own: Iterator[StrPath] = (f"{each}/{name}" for each in self._certificates)
        for directory in (*own, *manner.directories):
            more, pairs = certificates_in(directory)
            authorities += more
            keypairs += pairs
            if more or pairs:
                found.append(str(directory))
        certified = replace(manner, authorities=tuple(authorities), keypairs=tuple(keypairs))
        return certified, tuple(found)


def _is_plain(name: str, manner: Manner) -> bool:
    if manner.http is not None:
        return manner.http
    # Who has been given certificates for it knows that it speaks HTTPS.
    return is_loopback(name) and not manner.authorities and not manner.keypairs


def load_hosts(environ: Mapping[str, str] = os.environ, machine: StrPath = "/etc") -> Hosts:
    """Read the settings of this user and, in `machine`, of this machine. Raises InputError naming the file."""
    own = config_directory(environ)
    users: StrPath = str(own.parent)
    buildkit = machine if is_machine_root(environ) else users
    levels: tuple[Level, ...] = (
        _merged(read_daemon(f"{each}/docker/daemon.json") for each in (machine, users)),
        ContainerdHosts(
            directories=tuple(f"{each}/containerd/certs.d" for each in (machine, users))
        ),
        _merged(map(read_containers, containers_files(environ, machine))),
        read_registries(f"{buildkit}/buildkit/buildkitd.toml"),
        read_registries(f"{own}/registries.toml"),
    )
    certificates = (
        f"{machine}/docker/certs.d",
        f"{machine}/containers/certs.d",
        f"{users}/docker/certs.d",
        f"{users}/containers/certs.d",
    )
    return Hosts(levels, certificates, Overrides.of(environ))


def _merged(files: Iterable[Rules]) -> Rules:
    return Rules(rules=tuple(rule for each in files for rule in each.rules))


def _listed(environ: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(filter(None, (each.strip() for each in environ.get(variable, "").split(","))))


def _names(text: str, domain: str) -> bool:
    """Tell whether a registry is meant by a name, a network or a star."""
    if is_network(text):
        return in_network(domain, text)
    return text in {EVERYTHING, domain}
