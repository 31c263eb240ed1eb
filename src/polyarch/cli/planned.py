"""Commands of docker buildx that aren't there: what each of them is answered with.

They are known by name only: neither help nor completion lists them, and even `--help` fails, since
scripts ask for that to find out whether a command is there.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InputError

__all__ = ["PLANNED", "refusal"]

PLANNED: Mapping[str, tuple[str, str]] = {
    "install": (
        "install isn't there: since Docker 23, docker build leads to the plugin buildx by itself",
        "make polyarch that plugin: polyarch plugin install",
    ),
    "uninstall": (
        "uninstall isn't there: docker build leads to the plugin buildx as long as there is one",
        "take it away if it is polyarch: polyarch plugin uninstall",
    ),
}
"""By the command's name: what is missing, and what to do instead, with the program's name as `{0}`."""


def refusal(name: str, program: str) -> InputError:
    """Return the error for one of PLANNED; `program` is what the user calls us by."""
    message, instead = PLANNED[name]
    return InputError(message, hint=instead.format(program))
