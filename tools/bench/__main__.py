"""Measures polyarch beside the builders that are on this machine, and what emulated steps cost: `make bench`.

The benchmarks beside other builders lie beside the project. Words on the command line are theirs; where no
BuildKit is there, ratios are to polyarch's own figures. With `--emulated [--resume] [ROW ...]` there is only the
table of emulated steps, with all of its rows or those; resumed, it keeps the figures of the runs before it, and measures
those that are lacking.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tools.bench.emulated import measure
from tools.beside import BUILD, PROJECT, get_beside

_RESUME = "--resume"


def main() -> int:
    """Run the benchmarks and return their exit status."""
    if sys.argv[1:2] == ["--emulated"]:
        names = [word for word in sys.argv[2:] if word != _RESUME]
        return measure(names, is_resumed=_RESUME in sys.argv)
    return _beside(sys.argv[1:]) or measure([])


def _beside(words_of_theirs: list[str]) -> int:
    benchmarks = get_beside("BENCH", "bench", "bench.py")
    BUILD.mkdir(exist_ok=True)
    run = BUILD / "bench.json"
    words = ["--candidate", f"{PROJECT}/.venv/bin/polyarch", "--json", str(run)]
    words += ["--packages", f"{BUILD}/bench-packages"]
    if not (shutil.which("buildkitd") and shutil.which("buildx")):
        words += ["--reference", "polyarch"]
    status = subprocess.run(
        [sys.executable, str(benchmarks / "bench.py"), *words, *words_of_theirs],
        # They may lie in a directory that isn't ours to write to.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    ).returncode
    if not status:
        print(f"the whole run: {run}")
    return status


if __name__ == "__main__":
    sys.exit(main())
