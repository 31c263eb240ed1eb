"""For all tests: examples may take their time, as the machines they run on are busy with others' work.

What was compared with others' images is told at the end, and what could not be compared. It stands here,
as the process that reports doesn't read the conftests of directories when others run the tests.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.images.baseimages import push_base
from tests.support.images.rootfs import make_rootfs
from tests.support.machine.engines import ROOT, User, fresh_user
from tests.support.machine.programs import Person, person
from tests.support.network.certificates import make_certificates
from tests.support.network.servers import RealRegistry, real_registry
from tools.conformance import LEFT_OUT, find_cases

settings.register_profile(
    "busy",
    # A change isn't to be refused for an input that nobody had thought of before it: whoever works looks for those.
    derandomize="CI" in os.environ,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("busy")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell runs what is behind an `&` without it, and programs would inherit that they can't be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: at the end, the other processes would have nothing left to do meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage among what the tests make, and not among ten thousand tests, which all stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how many images were identical; where BuildKit's results aren't, that they were left out."""
    told = [
        line
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, lines in report.user_properties
        if name == "conformance"
        for line in lines
    ]
    if told:
        terminalreporter.section("conformance")
    for line in told:
        terminalreporter.write_line(line)
    config = terminalreporter.config
    if find_cases() is None and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        terminalreporter.write_line(LEFT_OUT)


@pytest.fixture(scope="session")
def user_with_many_ids() -> Iterator[User]:
    with fresh_user(subordinate_ids=True) as user:
        yield user


@pytest.fixture(scope="session")
def user_with_one_id() -> Iterator[User]:
    with fresh_user(subordinate_ids=False) as user:
        yield user


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA of its own, and what it has signed."""
    directory = tmp_path_factory.mktemp("certificates")
    make_certificates(directory)
    return directory


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
