"""What a build that has nothing to do loads: what isn't loaded costs no time."""

from __future__ import annotations

import subprocess
import sys

# Each of these takes milliseconds, and an unchanged build can do without.
UNWANTED = {
    "argparse",
    "concurrent.futures",
    "dataclasses",
    "email",
    "http.client",
    "inspect",
    "logging",
    "polyarch.why.explainer",
    "polyarch.why.history",
    "rich",
    "secrets",
    "shutil",
    "ssl",
    "subprocess",
    "tarfile",
    "tempfile",
    "zlib",
}


def test_a_build_is_begun_with_few_modules() -> None:
    script = (
        "import sys, polyarch.cli.app, polyarch.cli.building.build, polyarch.cli.frame.engine, "
        "polyarch.pipeline.build, polyarch.cli.display.plain; print(*sys.modules)"
    )

    ended = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )

    assert UNWANTED & set(ended.stdout.split()) == set()
