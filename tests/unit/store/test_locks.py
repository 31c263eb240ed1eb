import os
import signal
import threading
from pathlib import Path

import pytest

from polyarch.errors import Cancelled
from polyarch.progress import CancelToken
from polyarch.store.locks import Locks


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return Locks(tmp_path)


def test_exclusive_excludes_within_a_process(locks: Locks) -> None:
    with locks.exclusive("a") as first, locks.exclusive("a", wait=False) as second:
        assert (first, second) == (True, False)
    with locks.exclusive("a", wait=False) as third:
        assert third


def test_shared_is_shared(locks: Locks) -> None:
    with (
        locks.shared("a"),
        locks.shared("a", wait=False) as other,
        locks.exclusive("a", wait=False) as alone,
    ):
        assert (other, alone) == (True, False)


def test_names_may_be_any_text(locks: Locks) -> None:
    with locks.exclusive("../é/" + "x" * 300), locks.exclusive(".", wait=False) as held:
        assert held


def test_waiting_gets_it_in_the_end(locks: Locks) -> None:
    order = []

    def wait() -> None:
        with locks.exclusive("a"):
            order.append("second")

    with locks.exclusive("a"):
        thread = threading.Thread(target=wait)
        thread.start()
        order.append("first")
    thread.join()

    assert order == ["first", "second"]


def test_waiting_can_be_cancelled(locks: Locks) -> None:
    token = CancelToken()
    token.cancel()

    with locks.exclusive("a"), pytest.raises(Cancelled), locks.exclusive("a", check=token.check):
        pass


def test_a_dead_holder_holds_nothing(locks: Locks) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with locks.exclusive("a"):
            os.write(writer, b".")
            signal.pause()
    os.read(reader, 1)
    with locks.exclusive("a", wait=False) as before:
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    with locks.exclusive("a", wait=False) as after:
        assert (before, after) == (False, True)


def test_sweep_leaves_what_is_held(locks: Locks, tmp_path: Path) -> None:
    with locks.exclusive("free"):
        pass
    with locks.exclusive("held"):
        removed = locks.sweep()

        assert (removed, os.listdir(tmp_path)) == (1, ["held"])
