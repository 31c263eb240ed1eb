"""Where state and configuration live.

All state lies under one directory: `$POLYARCH_ROOT`, else `/var/lib/polyarch` for root, else
`$XDG_DATA_HOME/polyarch`. Configuration lies under `$XDG_CONFIG_HOME/polyarch`; Docker's own files are
read where Docker has them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "PLUGIN_VARIABLE",
    "STANDIN_VARIABLE",
    "builders_directory",
    "buildx_directory",
    "config_directory",
    "docker_config_directory",
    "in_engine",
    "is_device",
    "is_machine_root",
    "read_toml",
    "replacing",
    "stands_in_for_buildx",
    "state_directory",
    "user_id",
]

PLUGIN_VARIABLE = "POLYARCH_PLUGIN"
"""Set by the plugin's script to the name that docker calls it by."""
_USER_VARIABLE = "POLYARCH_USER"
"""Set by the engine to the user's number outside of its namespaces."""
STANDIN_VARIABLE = "POLYARCH_STANDIN"
"""Set by the scripts of programs that polyarch stands in for: buildx, docker or kaniko."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a new file beside `path`, which takes its place when the block ends well.

    Readers see the old file or the new one, never a part; where the block fails, the old one stays. The
    mode is the block's to set, and nothing is synced (docs/decisions/003). Raises OSError.
    """
    aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        yield aside
        aside.replace(path)
    except BaseException:
        with suppress(OSError):  # what went wrong first is what counts
            aside.unlink()
        raise


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or "~").expanduser()


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the store; it need not exist yet."""
    if root := environ.get("POLYARCH_ROOT"):
        return Path(root).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/polyarch")
    data = environ.get("XDG_DATA_HOME")
    return (Path(data) if data else _home(environ) / ".local/share") / "polyarch"


def in_engine(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for the engine's namespaces: in there everyone is root, whose files lie elsewhere.

    To be called before they are entered.
    """
    root, user = str(state_directory(environ)), str(user_id(environ))
    return {**environ, "POLYARCH_ROOT": root, _USER_VARIABLE: user}


def user_id(environ: Mapping[str, str] = os.environ) -> int:
    """Return who the user is on this machine, inside of the engine's namespaces as well."""
    told = environ.get(_USER_VARIABLE, "")
    return int(told) if told.isdecimal() else os.geteuid()


def is_machine_root(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the user is root, and not only inside of the engine's namespaces."""
    return user_id(environ) == 0


def config_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return polyarch's own configuration directory; it need not exist."""
    config = environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else _home(environ) / ".config") / "polyarch"


def docker_config_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of Docker's `config.json`: `$DOCKER_CONFIG`, else `~/.docker`."""
    config = environ.get("DOCKER_CONFIG")
    return Path(config) if config else _home(environ) / ".docker"


def buildx_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory in which docker buildx keeps its builders."""
    config = environ.get("BUILDX_CONFIG")
    return Path(config) if config else docker_config_directory(environ) / "buildx"


def is_device(path: Path) -> bool:
    """Whether there is a pipe, a device, or one of the names by which a process finds its own."""
    try:
        if path.is_symlink() and path.absolute().parts[1] in {"dev", "proc"}:
            return True
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def builders_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of our own builders, which docker buildx doesn't look into.

    Whoever gives docker buildx a directory of its own wants ours to be apart from others, too.
    """
    if environ.get("BUILDX_CONFIG"):
        return buildx_directory(environ) / "polyarch"
    return config_directory(environ) / "builders"


def stands_in_for_buildx(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether we are called in the place of docker buildx, whose settings are ours then."""
    if environ.get(STANDIN_VARIABLE) in {"buildx", "docker"}:
        return True
    return environ.get(PLUGIN_VARIABLE) == "buildx"


def read_toml(text: str) -> dict[str, object]:
    """Return what a file of settings holds. Raises ValueError."""
    # Most users have none: 3 ms.
    import tomllib  # noqa: PLC0415

    return tomllib.loads(text)
