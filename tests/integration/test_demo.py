"""The demo when it is interrupted; `make demo` is its test otherwise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

_PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--offline"],
        cwd=_PROJECT,
        env={**os.environ, "PYTHONPATH": f"{_PROJECT}/src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        first = demo.stdout.readline()
        demo.send_signal(number)
        rest = demo.stdout.read()

    assert (demo.returncode, rest.splitlines()[-1]) == (130, "demo: interrupted")
    told = re.match(r"The registry is (\S+); all state lies in (\S+),", first)
    assert told
    assert not Path(told[2]).exists()
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://{told[1]}/v2/", timeout=5)
