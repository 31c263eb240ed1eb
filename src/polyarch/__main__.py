"""The command line's entry: `polyarch`, or `python -m polyarch`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns its exit status."""
    # What is asked for most often needs none of the program: no import but this module's.
    if sys.argv[1:] == ["version"]:
        from polyarch import __version__  # noqa: PLC0415

        sys.stdout.write(f"github.com/polyarch/polyarch v{__version__}\n")
        return 0
    from polyarch.cli.app import main as run  # noqa: PLC0415

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
