"""Whether builds without an output are loaded: what a builder was made with, by `--driver-opt default-load=true`."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.builders.values import DOCKER_DRIVER, LOCAL_ENDPOINT, SavedBuilder
from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, parse_bool

__all__ = ["loads_by_default"]

_OPTION = "default-load"


def loads_by_default(builder: SavedBuilder, environ: Mapping[str, str]) -> bool:
    """Tell whether a builder loads what has no output: its first daemon was made to. Raises InputError for no truth value."""
    if not builder.is_remote or builder.driver == DOCKER_DRIVER:
        return False
    if find_bool(environ.get("BUILDX_NO_DEFAULT_LOAD", "")):
        return False
    daemons = (node for node in builder.nodes if node.endpoint != LOCAL_ENDPOINT)
    text = next((node.driver_opts.get(_OPTION, "") for node in daemons), "")
    try:
        return bool(text) and parse_bool(text)
    except InputError as error:
        raise InputError(f"invalid driver option {_OPTION}: {error}") from error
