"""Servers for attacks: one that a secret is for, and one that it isn't for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certificates import make_certificates, server_side
from web import WebServer, web_server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def own(stack: ExitStack) -> WebServer:
    """The server that the password is for."""
    return stack.enter_context(web_server())


@pytest.fixture
def other(stack: ExitStack) -> WebServer:
    """Somebody at another port, which is another origin."""
    return stack.enter_context(web_server())


@pytest.fixture
def secure(stack: ExitStack, certificates: Path) -> WebServer:
    """The server that the password is for, speaking TLS."""
    return stack.enter_context(web_server(server_side(certificates)))
