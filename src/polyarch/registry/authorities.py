"""CAs that are trusted everywhere, by registries' clients and by the steps of builds: which files have them.

The sources count together: `--ca` and `$POLYARCH_CA`, which it sets (files with commas between them; `machine` is the store of
this machine, for steps); and `ca = ["FILE"]` at the top of `registries.toml`, for a machine or a user for good.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from polyarch.errors import InputError
from polyarch.paths import config_directory
from polyarch.record import frozen
from polyarch.registry.settings.texts import parsed_toml, texts

__all__ = ["CA_VARIABLE", "MACHINE", "Authority", "find_authorities"]

CA_VARIABLE = "POLYARCH_CA"
MACHINE = "machine"


@frozen
class Authority:
    """A file of CAs, and the file or the variable that names it."""

    path: Path
    source: str


def find_authorities(environ: Mapping[str, str] = os.environ) -> tuple[Authority, ...]:
    """Return the files of CAs that are trusted everywhere, beside the machine's. Raises InputError for settings."""
    settings = f"{config_directory(environ)}/registries.toml"
    nothing: tuple[str, ...] = ()
    told = parsed_toml(settings, lambda data: texts(data, "ca"), nothing)
    named = [name.strip() for name in environ.get(CA_VARIABLE, "").split(",")]
    return (
        *(Authority(path=Path(name), source=settings) for name in told),
        *(
            Authority(
                path=_of_machine() if name == MACHINE else Path(name), source=f"${CA_VARIABLE}"
            )
            for name in named
            if name
        ),
    )


def _of_machine() -> Path:
    # Loads OpenSSL: 15 ms.
    import ssl  # noqa: PLC0415

    path = ssl.get_default_verify_paths().cafile
    if path is None:
        raise InputError(
            "this machine has no file of all CAs that it trusts", hint="name the file: --ca FILE"
        )
    return Path(path)
