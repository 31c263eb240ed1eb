"""What attacks are made from: steps of every runtime, and servers that a secret is for, or isn't."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from polyarch.syscalls import capget
from tests.support.machine.engines import ROOT, User
from tests.support.machine.stepping import RUNTIMES, Stepper
from tests.support.network.certificates import server_side
from tests.support.network.web import WebServer, web_server

_CAP_SYS_RESOURCE = 24
_USERS = {"root": "", "many ids": "user_with_many_ids", "one id": "user_with_one_id"}


def _starts(user: str, runtime: str) -> bool:
    """Tell whether a runtime can be used: crun gives root's steps rules for devices only with this."""
    return (user, runtime) != ("root", "crun") or bool(capget()[0] >> _CAP_SYS_RESOURCE & 1)


_EMULATED = {
    *itertools.product(_USERS, ["sandbox"]),
    *itertools.product(["root", "many ids"], ["runc"]),
    *itertools.product(["root", "one id"], ["crun"]),
}
"""Emulated, too: our own runtime for everybody, others' for root and one other, as they know nothing of emulators."""

COMBINATIONS = [
    pytest.param(each, id="-".join(each))
    for each in itertools.product(_USERS, RUNTIMES, ("amd64", "arm64"))
    if _starts(*each[:2]) and (each[2] == "amd64" or each[:2] in _EMULATED)
]


@pytest.fixture(params=COMBINATIONS)
def stepper(
    request: pytest.FixtureRequest, rootfs_of: Callable[..., Path], tmp_path: Path
) -> Stepper:
    """Steps in a root of one's own, beside a directory that stands for the machine."""
    name, runtime, architecture = request.param
    user = request.getfixturevalue(_USERS[name]) if _USERS[name] else ROOT
    assert isinstance(user, User)
    rootfs = rootfs_of(user, architecture)
    host = tmp_path / "host"
    (host / "empty").mkdir(parents=True)
    (host / "file").touch()
    for path in (host, *host.rglob("*")):
        os.chown(path, user.uid, user.gid)
    return Stepper(user=user, runtime=runtime, architecture=architecture, rootfs=rootfs, host=host)


# --- servers ---


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
