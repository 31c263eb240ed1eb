"""Where the settings of the collector are: with the builder (`--buildkitd-config`), else in the user's `buildkitd.toml`."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.builders.values import BuilderNode
from polyarch.errors import InputError
from polyarch.paths import config_directory, is_machine_root, state_directory

if TYPE_CHECKING:
    from polyarch.store.gcsettings import Collecting

__all__ = ["CONFIG_NAME", "read_settings", "settings_of", "user_settings"]

CONFIG_NAME = "buildkitd.toml"
_SYSTEM = Path("/etc/buildkit")


def settings_of(node: BuilderNode, environ: Mapping[str, str] = os.environ) -> str:
    """Return the text of the settings that hold for a builder; "" if there are none. Raises InputError."""
    if CONFIG_NAME in node.files:
        return b64decode(node.files[CONFIG_NAME]).decode(errors="replace")
    return user_settings(environ)


def user_settings(environ: Mapping[str, str] = os.environ) -> str:
    """Return the text of the settings of those who come from BuildKit; "" if there are none. Raises InputError.

    Those of the machine are root's, as they are for BuildKit: how much of a disk a daemon of root's may fill
    says nothing of the stores of others.
    """
    own = config_directory(environ).parent / "buildkit"
    for directory in (own, _SYSTEM) if is_machine_root(environ) else (own,):
        path = directory / CONFIG_NAME
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"can't read {path}: {error}") from error
    return ""


def read_settings(text: str, environ: Mapping[str, str] = os.environ) -> Collecting:
    """Read settings for the disk that the store is on, or is to be on. Raises InputError."""
    # Every build asks for the settings, and most users have none to be read.
    from polyarch.store.gcsettings import collecting_for  # noqa: PLC0415

    return collecting_for(state_directory(environ), text)
