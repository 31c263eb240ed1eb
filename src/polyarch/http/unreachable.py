"""Why nobody answered, as a class and a reason rather than as words of a library.

What goes wrong on a connection is an OSError: the socket's, one of TLS, or a `ProtocolError`. Callers need
to know two things about it: what the user can do, and whether trying again may help.
"""

from __future__ import annotations

import socket
from enum import StrEnum

from polyarch.errors import RemoteError
from polyarch.http.offline import OFFLINE_HINT, Offline
from polyarch.http.origin import Origin, origin_of, shown

__all__ = ["Reason", "Unreachable", "reason_of"]


class Reason(StrEnum):
    """What kept an answer from coming."""

    OFFLINE = "offline"
    """Nobody was asked, as the network isn't to be used."""
    ABSENT = "absent"
    """There is no such name, or nothing listens there."""
    SILENT = "silent"
    """No answer came within the time that is waited for one."""
    UNTRUSTED = "untrusted"
    """Its certificate isn't signed by a trusted CA, or is for another name."""
    UNWELCOME = "unwelcome"
    """It wants a client certificate, or another one than it was shown."""
    NO_TLS = "no TLS"
    """It speaks something else where TLS was expected."""
    BROKEN = "broken"
    """The connection broke, or wasn't HTTP."""

    @property
    def is_absence(self) -> bool:
        """Whether nobody was there, rather than somebody who is spoken to wrongly."""
        return self in {Reason.OFFLINE, Reason.ABSENT, Reason.SILENT, Reason.BROKEN}

    @property
    def is_lasting(self) -> bool:
        """Whether it will be the same a second later."""
        return self is not Reason.BROKEN


class Unreachable(RemoteError):
    """Nobody answered at `origin`, where a redirect may have led to; `error` says why, `reason` in short."""

    def __init__(self, url: str, error: OSError, *, is_kept: bool = False) -> None:
        """`is_kept` tells that the connection was an old one, which somebody on the way may have forgotten."""
        self.origin = origin_of(url)
        self.error = error
        self.reason = reason_of(error)
        super().__init__(
            f"can't reach {shown(url)}: {error}",
            hint=_hint(self.origin, self.reason),
            temporary=not self.reason.is_lasting or (is_kept and self.reason is Reason.SILENT),
            # Names that don't exist stay so; who isn't there now, or says nothing, may be back in a minute.
            passing=self.reason is Reason.SILENT or isinstance(error, ConnectionRefusedError),
        )


_ALERTS = frozenset(
    {
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REQUIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "HANDSHAKE_FAILURE",
        "NO_CERTIFICATE",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
    }
)
"""Alerts of a server that wants a client certificate. What OpenSSL puts before them depends on its version.

TLS 1.2 has no alert of its own for a missing certificate: the handshake fails. That has other causes, too,
which last as well.
"""
_NO_TLS = frozenset(
    {"HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "WRONG_VERSION_NUMBER"}
)
"""What OpenSSL, depending on its version, calls the first bytes of an answer in plain HTTP."""


def reason_of(error: OSError) -> Reason:
    """Return what an error of a connection comes to."""
    if isinstance(error, (Offline, ConnectionRefusedError)):
        return Reason.OFFLINE if isinstance(error, Offline) else Reason.ABSENT
    if isinstance(error, socket.gaierror):
        # Other errors of a lookup come from name servers, and may pass.
        return Reason.ABSENT if error.errno == socket.EAI_NONAME else Reason.BROKEN
    if isinstance(error, TimeoutError):
        return Reason.SILENT
    import ssl  # noqa: PLC0415 - only where something went wrong that may be of TLS

    if isinstance(error, ssl.SSLCertVerificationError):
        return Reason.UNTRUSTED
    # Only OpenSSL gives a name; errors that Python makes itself don't even have the attribute.
    name: str = getattr(error, "reason", None) or "" if isinstance(error, ssl.SSLError) else ""
    if name.rpartition("ALERT_")[2] in _ALERTS:
        return Reason.UNWELCOME
    return Reason.NO_TLS if name in _NO_TLS else Reason.BROKEN


def _hint(origin: Origin, reason: Reason) -> str:
    if reason is Reason.OFFLINE:
        return OFFLINE_HINT
    if reason is Reason.UNTRUSTED:
        return f"trust its CA: put it into /etc/docker/certs.d/{origin}/ca.crt"
    return "check the name, the network and the proxy settings"
