"""What a file looks like, in little room."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["Look", "Status"]


class Look(NamedTuple):
    """What counts of a file's status, under the names of `os.stat_result`, which takes half a kilobyte."""

    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_ino: int
    st_mode: int
    st_nlink: int
    st_dev: int
    st_rdev: int
    st_uid: int
    st_gid: int


Status = os.stat_result | Look
