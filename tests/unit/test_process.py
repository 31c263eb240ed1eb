from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from polyarch.errors import Cancelled, MachineError
from polyarch.process import Child, Completed, base_environment, run
from polyarch.progress import CancelToken


def test_run_collects_both_streams_and_the_status() -> None:
    completed = run(["sh", "-c", "echo out; echo err >&2; exit 3"])

    assert completed == Completed(
        argv=("sh", "-c", "echo out; echo err >&2; exit 3"),
        status=3,
        stdout=b"out\n",
        stderr=b"err\n",
    )
    assert str(completed) == "sh ended with status 3: err"


def test_run_writes_more_input_than_a_pipe_holds() -> None:
    data = bytes(range(256)) * 4096

    assert run(["cat"], stdin=data).stdout == data


def test_run_survives_a_child_that_does_not_read() -> None:
    assert run(["true"], stdin=b"x" * 1_000_000).status == 0


def test_stdin_is_empty_by_default() -> None:
    assert run(["cat"]).stdout == b""


def test_a_missing_program_has_status_127() -> None:
    completed = run(["polyarch-no-such-program"])

    assert completed.status == 127
    assert str(completed) == "polyarch-no-such-program was not found"


def test_a_program_that_is_no_program_has_status_126(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"data")

    assert run([str(path)]).status == 126


def test_a_killed_program_has_status_128_and_the_signal() -> None:
    completed = run(["sh", "-c", "kill -TERM $$"])

    assert (completed.status, completed.signal) == (143, 15)
    assert str(completed) == "sh was killed by SIGTERM"


def test_check_raises_with_the_last_line() -> None:
    with pytest.raises(MachineError, match=r"^sh ended with status 1: no luck$"):
        run(["sh", "-c", "echo no luck >&2; exit 1"]).check()


def test_the_environment_is_what_was_given() -> None:
    assert run(["env"], env={"PATH": os.environ["PATH"], "A": "1"}).stdout.splitlines() == [
        b"PATH=" + os.fsencode(os.environ["PATH"]),
        b"A=1",
    ]


def test_base_environment_takes_no_secrets_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")

    assert "TOKEN" not in base_environment()
    assert base_environment(A="1")["A"] == "1"


def test_a_timeout_kills_the_whole_group() -> None:
    with pytest.raises(MachineError, match=r"^sh did not end within 0.1 s$"):
        run(["sh", "-c", "sleep 100 & wait"], timeout=0.1)


def test_a_timeout_also_counts_after_the_streams_were_closed() -> None:
    with pytest.raises(MachineError, match="did not end"):
        run(["sh", "-c", "exec >&- 2>&-; exec sleep 100"], timeout=0.2)


def test_cancelling_kills_the_whole_group() -> None:
    token = CancelToken()

    def cancel_once_it_runs(_stream: int, _data: bytes) -> None:
        threading.Thread(target=token.cancel).start()

    child = Child(
        ["sh", "-c", "sleep 100 & echo; wait"], cancel=token, on_output=cancel_once_it_runs
    )
    with pytest.raises(Cancelled):
        child.wait()
    with pytest.raises(Cancelled):
        Child(["true"], cancel=token)


def test_a_child_can_write_to_a_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        Child(["echo", "hi"], stdout=file.fileno()).wait().check()

    assert (tmp_path / "out").read_bytes() == b"hi\n"


def test_a_child_leads_its_own_group_and_dies_with_its_parent() -> None:
    script = "import ctypes, os; d = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(d)); print(os.getpid() == os.getpgrp(), d.value)"

    assert run(["python3", "-c", script]).stdout == b"True 9\n"


def test_killing_an_ended_child_does_nothing() -> None:
    child = Child(["true"])
    child.wait()

    child.kill()
