"""Ways into pods that are tried again: a machine that has just joined a cluster can't be entered for some seconds.

The API server then answers that it couldn't reach it (its certificate isn't signed yet), or is itself being replaced.

Source: docker buildx, `driver/kubernetes/driver.go`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from polyarch.errors import RemoteError

__all__ = ["persistently"]

_T = TypeVar("_T")
_TIMES = 5
_PAUSE = 0.5
"""Seconds after the first try; after each one they are doubled."""
_GONE = 404


def persistently(dial: Callable[[], _T]) -> _T:
    """Try what may go better the next time, some seconds long at most. Raises what the last try did."""
    for times in range(_TIMES - 1):
        try:
            return dial()
        except RemoteError as error:
            # A pod that is gone meanwhile isn't chosen again.
            if not error.temporary and error.status != _GONE:
                raise
        time.sleep(_PAUSE * 2**times)
    return dial()
