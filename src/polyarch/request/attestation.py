"""What a build is to attest of its result: where it comes from (provenance), and what is in it (SBOM)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from polyarch.record import field, frozen

__all__ = ["DEFAULT_PROVENANCE", "PROVENANCE", "SBOM", "Attestation", "attest_attributes", "chosen"]

PROVENANCE = "provenance"
SBOM = "sbom"


def _nothing() -> Mapping[str, str]:
    # A factory, as read-only mappings can't be hashed before Python 3.12, and so not be defaults.
    return MappingProxyType({})


@frozen
class Attestation:
    """An attestation that is wanted, or (`disabled`) not wanted; `attributes` are docker buildx's `--attest`."""

    type: str
    disabled: bool = False
    attributes: Mapping[str, str] = field(default_factory=_nothing)


DEFAULT_PROVENANCE = Attestation(
    type=PROVENANCE, attributes=MappingProxyType({"mode": "min", "inline-only": "true"})
)
"""What every build attests that nobody told otherwise, as docker buildx has it."""


def chosen(attestations: Iterable[Attestation]) -> tuple[Attestation, ...]:
    """Return what is to be attested, each type once: later ones win."""
    by_type = {each.type: each for each in attestations}
    return tuple(each for each in by_type.values() if not each.disabled)


def attest_attributes(attestations: Iterable[Attestation]) -> dict[str, str]:
    """Return what is to be attested in the words in which daemons are asked for it: `attest:sbom`."""
    return {
        f"attest:{each.type}": ",".join(_field(*pair) for pair in each.attributes.items())
        for each in attestations
        if not each.disabled
    }


def _field(name: str, value: str) -> str:
    text = f"{name}={value}"
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text
