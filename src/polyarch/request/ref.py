"""What a build is called in the history: `BUILDER/NODE/ID`, and what buildx keeps of it on the user's side."""

from __future__ import annotations

import os

from polyarch.request.values import BuildRequest, is_address

__all__ = ["build_id", "local_state", "new_ref"]

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_LENGTH = 25


def new_ref(builder: str = "default", node: str = "default") -> str:
    """Return a name for a build, with an ID as buildx makes them."""
    return f"{builder}/{node}/{build_id(int.from_bytes(os.urandom(17)))}"


def build_id(number: int) -> str:
    """Return an ID in buildx's form, 25 letters and digits, that follows from a number of 130 bits or more."""
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def local_state(request: BuildRequest) -> dict[str, str]:
    """Return where the context and the Dockerfile of a build are, as buildx writes it down below `refs`.

    Paths are absolute; those of Dockerfiles in repositories and archives are as they were given.
    """
    context, dockerfile = request.context, request.dockerfile
    if not is_address(context) and context != "-":
        context = os.path.abspath(context)
        if dockerfile and dockerfile != "-" and not is_address(dockerfile):
            dockerfile = os.path.abspath(dockerfile)
    return {"Target": "default", "LocalPath": context, "DockerfilePath": dockerfile}
