"""The flag of all commands that show how far they are."""

from __future__ import annotations

from polyarch.cli.frame.flags import Flag

__all__ = ["PROGRESS"]

PROGRESS = Flag(
    name="progress",
    default="auto",
    help="Set type of progress output (auto, none, plain, quiet, rawjson, tty)",
    choices=("auto", "none", "plain", "quiet", "rawjson", "tty"),
)
