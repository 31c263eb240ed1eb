"""Compares polyarch's images with BuildKit's, by the cases beside the project: `make conformance`.

The cases name images at 127.0.0.1:5000. A registry that is there already is used; otherwise one is
started for the time of the run. Words on the command line are the comparing program's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from tools.beside import BUILD, PROJECT, get_beside
from tools.registry import real_registry

_PORT = 5000


def main() -> int:
    """Run the comparison and return its exit status."""
    cases = get_beside("CONFORMANCE", "conformance", "difftest.py")
    BUILD.mkdir(exist_ok=True)
    verdicts = BUILD / "conformance.json"
    environ = {
        **os.environ,
        # They may lie in a folder that isn't ours to write to.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": f"{PROJECT}/.venv/bin:{os.environ['PATH']}",
        "POLYARCH_ROOT": f"{BUILD}/conformance-store",
    }
    host = f"127.0.0.1:{_PORT}"
    bases = ["baseimages.py", "--registry", host, "--cache", f"{BUILD}/conformance-packages"]
    compare = ["difftest.py", "--candidate", "polyarch build", "--json", str(verdicts)]
    with _registry():
        for program, *words in (bases, [*compare, *sys.argv[1:]]):
            status = subprocess.run(
                [sys.executable, str(cases / program), *words], env=environ, check=False
            ).returncode
            if status:
                return status
    print(f"all verdicts: {verdicts}")
    return 0


@contextlib.contextmanager
def _registry() -> Iterator[None]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}/v2/", timeout=5):
            pass
    except OSError:
        with real_registry(BUILD / "conformance-registry", port=_PORT):
            yield
        return
    print(f"using the registry that is at 127.0.0.1:{_PORT}")
    yield


if __name__ == "__main__":
    sys.exit(main())
