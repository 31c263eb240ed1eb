"""Why nobody answered, as a class and a reason rather than as words of a library.

What goes wrong on a connection is an OSError of the socket's, of TLS, or a `ProtocolError`. Whoever asks
wants to know two things of it: what to tell the user to do, and whether another time may help.
"""

from __future__ import annotations

import socket
from enum import StrEnum

from polyarch.errors import RemoteError
from polyarch.http.origin import Origin, origin_of, shown

__all__ = ["Reason", "Unreachable", "reason_of"]


class Reason(StrEnum):
    """What kept an answer from coming."""

    ABSENT = "absent"
    """There is no such name, or nothing listens there."""
    SILENT = "silent"
    """It took longer than anybody waits."""
    UNTRUSTED = "untrusted"
    """Its certificate is signed by nobody who is trusted, or is somebody else's."""
    UNWELCOME = "unwelcome"
    """It wants a certificate of ours, or another one than it was shown."""
    NO_TLS = "no TLS"
    """It speaks something else where TLS was expected."""
    BROKEN = "broken"
    """The connection broke, or wasn't HTTP."""

    @property
    def is_lasting(self) -> bool:
        """Whether it will be the same a second later."""
        return self is not Reason.BROKEN


class Unreachable(RemoteError):
    """Nobody answered at `origin`, where a redirect may have led to; `error` says why, `reason` in short."""

    def __init__(self, url: str, error: OSError) -> None:
        self.origin = origin_of(url)
        self.error = error
        self.reason = reason_of(error)
        super().__init__(
            f"can't reach {shown(url)}: {error}",
            hint=_hint(self.origin, self.reason),
            temporary=not self.reason.is_lasting,
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
"""What the other side says where it wants a certificate of ours; OpenSSL has other words before it by its age.

A failed handshake is what TLS 1.2 knows for it; it has other causes, which last as well.
"""
_NO_TLS = frozenset(
    {"HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "WRONG_VERSION_NUMBER"}
)
"""How OpenSSL, by its age, takes the first bytes of an answer in plain HTTP."""


def reason_of(error: OSError) -> Reason:
    """Return what an error of a connection comes to."""
    if isinstance(error, ConnectionRefusedError):
        return Reason.ABSENT
    if isinstance(error, socket.gaierror):
        # Other errors of looking up a name are of the servers that know names, and pass.
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
    if reason is Reason.UNTRUSTED:
        return f"trust its CA: put it into /etc/docker/certs.d/{origin}/ca.crt"
    return "check the name, the network and the proxy settings"
