"""Who runs the whole program in tests, and what they find: base images at a registry, root file systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from baseimages import push_base
from engines import ROOT, User, fresh_user
from programs import Person, person
from rootfs import make_rootfs
from servers import RealRegistry, real_registry


@pytest.fixture(scope="session")
def user_with_many_ids() -> Iterator[User]:
    with fresh_user(subordinate_ids=True) as user:
        yield user


@pytest.fixture(scope="session")
def user_with_one_id() -> Iterator[User]:
    with fresh_user(subordinate_ids=False) as user:
        yield user


@pytest.fixture(params=["root", "many ids", "one id"])
def user(request: pytest.FixtureRequest) -> User:
    """Root, and ordinary users with and without subordinate ids."""
    if request.param == "root":
        return ROOT
    name = "user_with_many_ids" if request.param == "many ids" else "user_with_one_id"
    user = request.getfixturevalue(name)
    assert isinstance(user, User)
    return user


@pytest.fixture
def rootfs_of(tmp_path: Path) -> Callable[..., Path]:
    """Return what makes a root file system that belongs to a user and can be reached by them."""

    def make(user: User, architecture: str = "amd64") -> Path:
        for directory in (tmp_path, *tmp_path.parents):
            if directory.owner() == "root" and "pytest" in str(directory):
                directory.chmod(0o755)
        rootfs = make_rootfs(tmp_path / f"rootfs-{architecture}", architecture)
        for path in (rootfs, *rootfs.rglob("*")):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
        return rootfs

    return make


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """Debian's registry, with `library/busybox` for amd64, arm64 and arm/v7."""
    directory = tmp_path_factory.mktemp("registry")
    with real_registry(directory) as server:
        push_base(server.host, "library/busybox", ("amd64", "arm64", "arm"), directory / "roots")
        yield server


@pytest.fixture
def who(user: User, tmp_path: Path) -> Person:
    """The users of `user`, each at a shell."""
    return person(user, tmp_path / "home")


@pytest.fixture
def root(tmp_path: Path) -> Person:
    return person(ROOT, tmp_path / "home")
