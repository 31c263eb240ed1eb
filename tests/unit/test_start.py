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


# Nor need one that runs steps and exports them any of these.
UNWANTED_WITH_STEPS = UNWANTED - {"polyarch.why.explainer", "polyarch.why.history", "zlib"}

START = (
    "import polyarch.cli.app, polyarch.cli.building.build, polyarch.cli.frame.engine, polyarch.pipeline.build, "
    "polyarch.cli.display.plain, polyarch.cli.building.solving, polyarch.engine.explain, "
    "polyarch.images.local"
)

WITH_STEPS = (
    "import polyarch.engine.programs, polyarch.worker.exec, polyarch.worker.file, "
    "polyarch.worker.change, polyarch.why.explainer, polyarch.layer.changes, polyarch.layer.compress"
)


def run(script: str) -> list[str]:
    """Run a program of this Python, without its site's packages; return the words that it prints."""
    ended = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    return ended.stdout.split()


def test_a_build_is_begun_with_few_modules() -> None:
    assert UNWANTED & set(run(f"import sys; {START}; print(*sys.modules)")) == set()


def test_steps_need_few_modules_more() -> None:
    loaded = set(run(f"import sys; {START}; {WITH_STEPS}; print(*sys.modules)"))

    assert UNWANTED_WITH_STEPS & loaded == set()
    assert {"bz2", "lzma", "polyarch.runtime.runc", "polyarch.cdi.devices"} & loaded == set()


def test_no_regular_expression_of_ours_is_compiled_before_it_is_used() -> None:
    script = f"""
import re, sys
compiled, compile = [], re.compile
def watch(*arguments):
    compiled.append(sys._getframe(1).f_globals["__name__"])
    return compile(*arguments)
re.compile = watch
{START}
print(*(name for name in compiled if name.startswith("polyarch")))
"""

    assert run(script) == []
