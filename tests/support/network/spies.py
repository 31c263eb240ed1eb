"""What servers come to know: whether somebody told them a secret, in whatever form."""

from __future__ import annotations

import base64
from pathlib import Path

from polyarch.progress import CancelToken
from polyarch.registry.hosts import Hosts
from polyarch.registry.settings.rules import Manner, Rule, Rules, mirror_way
from tests.support.network.web import Asked, Page, WebServer

__all__ = ["PASSWORD", "TOKEN", "at_once", "knows", "mirrored", "redirect", "spoken_to", "trusting"]

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


def spoken_to(**manners: Manner) -> Hosts:
    """Return settings that say how servers are spoken to, by their names."""
    rules = (Rule(scope=name, manner=manner) for name, manner in manners.items())
    return Hosts((Rules(rules=tuple(rules)),))


def mirrored(name: str, mirror: str) -> Hosts:
    """Return settings by which a registry has a mirror, `host` or `host/path`."""
    return Hosts((Rules(rules=(Rule(scope=name, ways=(mirror_way(mirror),)),)),))


def trusting(server: WebServer, certificates: Path) -> Hosts:
    """Return settings by which a server's certificate is trusted."""
    return spoken_to(**{server.host: Manner(authorities=(certificates / "ca.crt",))})


def at_once(_seconds: float, _cancel: CancelToken) -> None:
    """Wait for nothing: a pause between attempts."""
