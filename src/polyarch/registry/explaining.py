"""Why an image is asked for where it is, and as whom: settings with the files that they came from, without secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping

from polyarch.errors import PolyarchError
from polyarch.http.origin import shown
from polyarch.http.pools import proxy_for
from polyarch.oci.reference import Reference
from polyarch.record import frozen
from polyarch.registry.credentials import ANONYMOUS, Credentials
from polyarch.registry.hosts import Host, load_hosts

__all__ = ["ExplainedHost", "explain"]


@frozen
class ExplainedHost:
    """A machine that is asked for an image.

    `tls` is "verified", "not verified", "none", or "not verified, else none". `user` is empty for nobody; `trouble`
    is why that can't be told. `decided_by` are files and variables, none where all is as it is by itself.
    """

    url: str
    is_mirror: bool
    tls: str
    authorities: tuple[str, ...]
    certificates: tuple[str, ...]
    proxy: str
    decided_by: tuple[str, ...]
    user: str
    credentials_from: str
    trouble: str


def explain(
    reference: Reference, environ: Mapping[str, str] = os.environ
) -> tuple[ExplainedHost, ...]:
    """Return who is asked for an image, in this order; the registry itself is the last. Nobody is asked anything.

    Credential helpers are run. Raises InputError for settings that can't be read.
    """
    hosts, credentials = load_hosts(environ), Credentials(environ)
    *mirrors, own = hosts.serving(reference.domain, mirrors=True)
    why = hosts.mirrors_from(reference.domain)
    found = [_explained(mirror, reference, credentials, environ, why) for mirror in mirrors]
    return (*found, _explained(own, reference, credentials, environ))


def _explained(
    host: Host,
    reference: Reference,
    credentials: Credentials,
    environ: Mapping[str, str],
    mirrored_by: tuple[str, ...] = (),
) -> ExplainedHost:
    scheme = "http" if host.plain and not host.endpoint.insecure else "https"
    user, source, trouble = _user(host.name, credentials)
    return ExplainedHost(
        url=f"{scheme}://{host.name}/v2/{host.prefix}{reference.path}",
        is_mirror=bool(host.namespace),
        tls=_tls(host),
        authorities=tuple(map(str, host.endpoint.authorities)),
        certificates=tuple(str(certificate) for certificate, _ in host.endpoint.keypairs),
        proxy=shown(proxy_for(scheme, host.name, environ)),
        decided_by=tuple(dict.fromkeys((*mirrored_by, *host.sources))),
        user=user,
        credentials_from=source,
        trouble=trouble,
    )


def _tls(host: Host) -> str:
    if host.endpoint.insecure:
        return "not verified, else none" if host.plain else "not verified"
    return "none" if host.plain else "verified"


def _user(name: str, credentials: Credentials) -> tuple[str, str, str]:
    """Return who the user is, who knew, and why that can't be told."""
    try:
        found = credentials.find(name)
    except PolyarchError as error:
        return "", "", str(error)
    if found == ANONYMOUS:
        return "", "", ""
    return found.user or "somebody with a token", found.source, ""
