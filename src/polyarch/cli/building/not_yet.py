"""What a build may be asked for that isn't there yet: what goes on without it, and what doesn't.

Attestations are a part of what is made: who asks for them is refused, unless told beforehand that they may
be left out, as in a script that is shared with other builders. What BuildKit would refuse as well is refused in its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool

if TYPE_CHECKING:
    from polyarch.cli.building.request import Asked
    from polyarch.cli.building.values import Attestation

__all__ = ["IGNORE_ATTESTATIONS", "left_out"]

IGNORE_ATTESTATIONS = "POLYARCH_IGNORE_ATTESTATIONS"
_ATTESTATIONS = frozenset({"sbom", "provenance"})


def left_out(
    asked: Asked, environ: Mapping[str, str], *, ignores_attestations: bool = False
) -> list[str]:
    """Return a line for what the build goes on without.

    `ignores_attestations` is the builder's setting. Raises InputError for attestations that nobody
    said may be left out, and for kinds of either that don't exist.
    """
    _check_known(asked)
    ignored = ignores_attestations or _is_on(environ.get(IGNORE_ATTESTATIONS, ""))
    return _attestations(asked.attestations, is_ignored=ignored)


def _check_known(asked: Asked) -> None:
    """Refuse kinds that don't exist, in BuildKit's words."""
    for each in asked.attestations:
        if each.type not in _ATTESTATIONS:
            raise InputError(f'failed to solve: unknown attestation type "{each.type}"')
    if asked.policies:
        raise InputError("--policy can't be carried out yet", hint="build without it")


def _is_on(text: str) -> bool:
    return bool(text) and find_bool(text) is not False


def _attestations(wanted: Sequence[Attestation], *, is_ignored: bool) -> list[str]:
    kinds = ", ".join(each.type for each in wanted if not each.disabled)
    if not kinds:
        return []
    if is_ignored:
        return [f"WARNING: attestations ({kinds}): left out, polyarch can't make them yet"]
    raise InputError(
        f"polyarch can't make attestations yet ({kinds}): build without, or leave them out with "
        f"{IGNORE_ATTESTATIONS}=1"
    )
