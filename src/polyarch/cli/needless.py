"""Commands of docker buildx that aren't there because they have no use: what each of them is answered with.

They are known by name only: neither help nor completion lists them, and even `--help` fails, since
scripts ask for that to find out whether a command is there.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InputError

__all__ = ["NEEDLESS", "refusal"]

NEEDLESS: Mapping[str, tuple[str, str]] = {
    "install": (
        "install isn't there: since Docker 23, docker build leads to the plugin buildx by itself",
        "make polyarch that plugin: polyarch plugin install",
    ),
    "uninstall": (
        "uninstall isn't there: docker build leads to the plugin buildx as long as there is one",
        "take it away if it is polyarch: polyarch plugin uninstall",
    ),
}
"""By the command's name: why it has no use, and what to do instead."""


def refusal(name: str) -> InputError:
    """Return the error for one of NEEDLESS."""
    message, instead = NEEDLESS[name]
    return InputError(message, hint=instead)
