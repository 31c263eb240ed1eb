"""Why an image is asked for where it is, and as whom: settings with the files that they came from, without secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from polyarch.errors import PolyarchError
from polyarch.http.origin import shown
from polyarch.http.pools import proxy_for
from polyarch.oci.reference import Reference
from polyarch.record import frozen
from polyarch.registry.credentials import ANONYMOUS, Credentials
from polyarch.registry.hosts import Host, load_hosts

__all__ = ["ExplainedHost", "Explanation", "explain"]


@frozen
class ExplainedHost:
    """A machine that is asked for an image.

    `serves` is "all", or "content" where it isn't asked what a tag stands for, or "tags". `tls` is "verified", "not verified",
    "none", or "not verified, else none". `headers` are names. `user` is empty for nobody; `trouble` is why that can't be told.
    `decided_by` are files and variables, none where all is as it is by itself.
    """

    url: str
    is_mirror: bool
    serves: str
    tls: str
    authorities: tuple[str, ...]
    certificates: tuple[str, ...]
    headers: tuple[str, ...]
    proxy: str
    decided_by: tuple[str, ...]
    user: str
    credentials_from: str
    trouble: str


@frozen
class Explanation:
    """Who is asked for an image, in this order, and where it is pushed to, which is mostly the last of them.

    Nobody is asked for an image that is `blocked_by` files. `scope` is what the settings that count are for, and
    `passed_over` are the files that name the registry as well.
    """

    scope: str
    hosts: tuple[ExplainedHost, ...]
    push: ExplainedHost | None
    blocked_by: tuple[str, ...]
    passed_over: tuple[str, ...]


def explain(
    reference: Reference,
    environ: Mapping[str, str] = os.environ,
    machine: Path = Path("/etc"),
) -> Explanation:
    """Return who is asked for an image. Nobody is asked anything, but a name server where networks are insecure.

    Credential helpers are run. Raises InputError for settings that can't be read.
    """
    hosts, name = load_hosts(environ, machine), (reference.domain, reference.path)
    asking = _Asking(reference, Credentials(environ), environ)
    blocked_by = hosts.blocked_by(*name)
    asked = () if blocked_by else hosts.reading(*name, by_tag=False)
    resolving = () if blocked_by else hosts.reading(*name, by_tag=True)
    everyone = (*asked, *(host for host in resolving if host not in asked))
    return Explanation(
        scope=hosts.scope(*name),
        hosts=tuple(
            asking.explained(host, _served(host in asked, host in resolving)) for host in everyone
        ),
        push=None if blocked_by else asking.explained(hosts.writing(*name), "pushes"),
        blocked_by=blocked_by,
        passed_over=hosts.passed_over(*name),
    )


def _served(has_content: bool, has_tags: bool) -> str:
    if has_content and has_tags:
        return "all"
    return "content" if has_content else "tags"


class _Asking:
    """Explains machines as those of one image."""

    def __init__(
        self, reference: Reference, credentials: Credentials, environ: Mapping[str, str]
    ) -> None:
        self._path = reference.path
        self._credentials = credentials
        self._environ = environ

    def explained(self, host: Host, serves: str) -> ExplainedHost:
        """Return how a machine is asked."""
        scheme = "http" if host.plain and not host.endpoint.insecure else "https"
        user, source, trouble = self._user(host, "pull,push" if serves == "pushes" else "pull")
        path = host.path(f"{self._path}/").rstrip("/")
        return ExplainedHost(
            url=f"{scheme}://{host.name}{path}",
            is_mirror=host.is_mirror,
            serves=serves,
            tls=_tls(host),
            authorities=tuple(map(str, host.endpoint.authorities)),
            certificates=tuple(str(certificate) for certificate, _ in host.endpoint.keypairs),
            headers=tuple(name for name, _ in host.headers),
            proxy=shown(proxy_for(scheme, host.name, self._environ)),
            decided_by=host.sources,
            user=user,
            credentials_from=source,
            trouble=trouble,
        )

    def _user(self, host: Host, actions: str) -> tuple[str, str, str]:
        """Return who the user is, who knew, and why that can't be told."""
        scope = f"repository:{host.repository(self._path)}:{actions}"
        try:
            found = self._credentials.find(host.name, (scope,))
        except PolyarchError as error:
            return "", "", str(error)
        if found == ANONYMOUS:
            return "", "", ""
        return found.user or "somebody with a token", found.source, ""


def _tls(host: Host) -> str:
    if host.endpoint.insecure:
        return "not verified, else none" if host.plain else "not verified"
    return "none" if host.plain else "verified"
