"""A clock that is wrong: Python loads this by itself where the directory is on PYTHONPATH.

The kernel has no namespace for the time of day, so it is the program's own clock that is moved, by
`TORTURE_CLOCK` seconds. Files keep the machine's time, as they do on a server with another clock.
"""

import os
import time

_SHIFT = float(os.environ.get("TORTURE_CLOCK", "0"))
_time, _time_ns = time.time, time.time_ns


def _shifted() -> float:
    return _time() + _SHIFT


def _shifted_ns() -> int:
    return _time_ns() + int(_SHIFT * 1e9)


time.time, time.time_ns = _shifted, _shifted_ns
