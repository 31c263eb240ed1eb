"""The short form of `make torture`: in no area anything is lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tools.beside import PROJECT
from tools.torture.areas import AREAS

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root, pytest.mark.slow]


def test_a_little_torment_loses_nothing() -> None:
    # A process of its own, with a mount namespace of its own.
    words = [sys.executable, "-m", "tools.torture", "--short", f"--seed={os.getpid()}"]
    ended = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = [line for line in ended.stdout.splitlines() if line.endswith(" 0 lost")]
    assert [line.partition(":")[0] for line in told] == list(AREAS)
