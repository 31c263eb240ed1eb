"""What servers come to know: whether somebody told them a secret, in whatever form."""

from __future__ import annotations

import base64
from pathlib import Path

from polyarch.progress import CancelToken
from polyarch.registry.hosts import Hosts, _Settings
from tests.support.network.web import Asked, Page, WebServer

__all__ = ["PASSWORD", "TOKEN", "at_once", "knows", "redirect", "trusting"]

PASSWORD = "the-crow-counts-to-4721"
TOKEN = "the-wren-knows-4722"


def knows(server: WebServer, secret: str = PASSWORD) -> bool:
    """Tell whether a server was told a secret, in a header, an address or a form."""
    return any(_holds(asked, secret) for asked in server.asked)


def _holds(asked: Asked, secret: str) -> bool:
    encoded = base64.b64encode(f"me:{secret}".encode()).decode()
    texts = (asked.path, asked.body.decode("latin-1"), *asked.headers.values())
    return any(each in text for text in texts for each in (secret, encoded))


def redirect(target: str, status: int = 307) -> Page:
    """Return an answer that leads elsewhere."""
    return Page(status=status, headers={"Location": target})


def trusting(server: WebServer, certificates: Path) -> Hosts:
    """Return settings by which a server's certificate is trusted."""
    authority = (certificates / "ca.crt",)
    return Hosts({server.host: _Settings(authorities=authority)}, Path("/nonexistent"))


def at_once(_seconds: float, _cancel: CancelToken) -> None:
    """Wait for nothing: a pause between attempts."""
