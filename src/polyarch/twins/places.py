"""Where the files of a set of native twins are: in the set, and for a step. See `sets`."""

from __future__ import annotations

__all__ = [
    "CACHE",
    "CPUINFO",
    "EMULATOR",
    "GIVEN_UP",
    "LIBRARIES",
    "LOADER",
    "MODULES",
    "MOUNTED",
    "MUSL_PATH",
    "TREE",
]

MOUNTED = "/dev/.pa"
"""Where a step sees the directory of all sets."""
TREE = "root"
LOADER = "l/ld"
LIBRARIES = "lib"
MODULES = "x"
"""What twins load by themselves, by the paths in the foreign root."""
CACHE = "c"
MUSL_PATH = "etc/ld-musl-x86_64.path"
"""musl looks for it beside the directory of its loader."""
EMULATOR = "qemu"
"""What runs the programs that are no twin's after all; it is put there before a step."""
CPUINFO = "cpuinfo"
"""What the emulator shows as /proc/cpuinfo, if that isn't the machine's own; put there with it."""
GIVEN_UP = "given-up"
"""What a twin opens that can't do as the foreign program would: its step is to be run again."""
