"""What tables name and only some runs need: imported when it is asked for.

Such a table says what there is to choose from, and that what isn't chosen costs nothing. Who asks checks
that what comes is what the table promises; a test asks for every name that is in one.
"""

from __future__ import annotations

import sys

__all__ = ["is_there", "load"]


def load(at: str) -> object:
    """Return what `at` names, as `module:NAME`; the module below `polyarch`."""
    module, _, name = at.partition(":")
    whole = f"polyarch.{module}"
    # importlib would do the same, and has to be imported itself.
    __import__(whole)
    found: object = getattr(sys.modules[whole], name)
    return found


def is_there(package: str) -> bool:
    """Tell whether a package is installed, without importing it; `importlib.util` would have to be imported itself."""
    return any(finder.find_spec(package, None) is not None for finder in sys.meta_path)
