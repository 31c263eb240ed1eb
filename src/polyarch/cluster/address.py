"""Schedulers of Dask: where one is, and what a node's options say of it.

tcp://HOST:PORT        a scheduler
tls://HOST:PORT        ... that has to show a certificate, and wants to see one
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from polyarch.errors import InputError, InvalidReference
from polyarch.golang.strconv import quote
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.record import frozen

__all__ = ["Certificates", "Cluster", "check_certificates", "parse_address", "parse_cluster"]

_OPTIONS = ("cacert", "cert", "key", "transfer", "wait")
_SCHEMES = ("tcp", "tls")


@frozen
class Certificates:
    """Files in PEM: the CA of the cluster's certificates, one's own certificate, and its key; "" for none."""

    authority: str = ""
    certificate: str = ""
    key: str = ""

    def __bool__(self) -> bool:
        return bool(self.authority or self.certificate or self.key)


@frozen
class Cluster:
    """A scheduler and how it's used.

    `transfer` is the repository through which contexts and files go to workers and back; without one they go through
    Dask. `wait` is for how many seconds a worker of a platform is waited for that isn't there.
    """

    address: str
    certificates: Certificates = Certificates()
    transfer: Reference | None = None
    wait: float = 0.0


def parse_address(address: str) -> str:
    """Return the address of a scheduler, checked. Raises InputError."""
    url = urlsplit(address)
    try:
        is_one = url.scheme in _SCHEMES and bool(url.hostname) and url.port is not None
    except ValueError:
        is_one = False
    if not is_one:
        raise InputError(
            f"invalid endpoint {quote(address)}",
            hint="the address of a Dask scheduler is tcp://HOST:PORT, or tls://HOST:PORT",
        )
    return f"{url.scheme}://{url.netloc}"


def parse_cluster(endpoint: str, options: Mapping[str, str]) -> Cluster:
    """Understand a node's endpoint and options. Raises InputError."""
    address = parse_address(endpoint)
    for name in options:
        if name not in _OPTIONS:
            raise InputError(
                f"invalid driver option {quote(name)} for dask driver",
                hint=f"there are {', '.join(_OPTIONS)}",
            )
    certificates = Certificates(
        authority=options.get("cacert", ""),
        certificate=options.get("cert", ""),
        key=options.get("key", ""),
    )
    check_certificates(address, certificates)
    try:
        wait = float(options.get("wait") or 0)
    except ValueError as error:
        raise InputError(f"the option wait takes seconds, not {options['wait']!r}") from error
    transfer = options.get("transfer", "")
    try:
        repository = parse_reference(transfer) if transfer else None
    except InvalidReference as error:
        raise InputError(f"the option transfer takes a repository: {error}") from error
    return Cluster(address=address, certificates=certificates, transfer=repository, wait=wait)


def check_certificates(address: str, certificates: Certificates) -> None:
    """Raise InputError where certificates and the scheme of an address don't fit."""
    if address.startswith("tls://"):
        if not (certificates.authority and certificates.certificate and certificates.key):
            raise InputError(
                f"{address} needs certificates",
                hint="give all three files: cacert, cert and key",
            )
    elif certificates:
        raise InputError(
            f"certificates are for schedulers at tls://, and this one is at {address}",
        )
