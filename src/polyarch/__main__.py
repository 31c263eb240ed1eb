"""The command line's entry: `polyarch`, or `python -m polyarch`."""

from __future__ import annotations

import gc
import os
import sys

from polyarch.release import version_line

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns its exit status."""
    # What is asked for most often needs none of the program.
    if sys.argv[1:] == ["version"] and "POLYARCH_STANDIN" not in os.environ:
        sys.stdout.write(version_line(stands_in=False) + "\n")
        return 0
    # By default the collector goes through everything every 700 objects: in vain, while modules are loaded.
    gc.set_threshold(50_000)
    from polyarch.cli.app import main as run  # noqa: PLC0415

    status = run(sys.argv[1:])
    # All that matters has been closed by its block. What is left is to take the modules apart, which
    # takes a hundredth of a second and does nobody any good.
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
