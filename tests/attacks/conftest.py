"""Who attacks: a step of every runtime, root's and ordinary users', native and emulated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engines import User
from stepping import RUNTIMES, Stepper


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["amd64", "arm64"])
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stepper(
    user: User,
    runtime: str,
    architecture: str,
    rootfs_of: Callable[..., Path],
    tmp_path: Path,
) -> Stepper:
    """Steps in a root of one's own, beside a folder that stands for the machine."""
    rootfs = rootfs_of(user, architecture)
    host = tmp_path / "host"
    (host / "empty").mkdir(parents=True)
    (host / "file").touch()
    for path in (host, *host.rglob("*")):
        os.chown(path, user.uid, user.gid)
    return Stepper(user=user, runtime=runtime, architecture=architecture, rootfs=rootfs, host=host)
