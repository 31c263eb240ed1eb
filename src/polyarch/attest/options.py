"""The attributes of `--attest` -> what is to be made. The words of errors are BuildKit's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, parse_bool, quote
from polyarch.record import field, frozen
from polyarch.request.attestation import PROVENANCE, SBOM, Attestation
from polyarch.text.nearest import suggestion

__all__ = ["AttestOptions", "ProvenanceOptions", "SbomOptions", "read_options"]

_MODES = {"min": "min", "max": "max", "full": "max"}
_VERSIONS = ("v1", "v0.2")
_FORMATS = ("spdx", "cyclonedx")


@frozen
class ProvenanceOptions:
    """How provenance is made. `mode` is min or max; `version` that of SLSA's predicate, v1 or v0.2.

    With `inline_only` it is for images in an index alone, not for files and archives.
    """

    mode: str = "max"
    version: str = "v1"
    inline_only: bool = False
    builder_id: str = ""
    filename: str = "provenance.json"
    reproducible: bool = False
    complete_materials: bool = False


@frozen
class SbomOptions:
    """How software is listed: `formats` are spdx and cyclonedx, in the order in which they are written.

    `generator` is an image that lists it in our place, "" for none, with its `parameters`.
    """

    formats: tuple[str, ...] = ("spdx",)
    generator: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@frozen
class AttestOptions:
    """What a build attests; None for what it doesn't."""

    provenance: ProvenanceOptions | None = None
    sbom: SbomOptions | None = None

    @property
    def is_for_files(self) -> bool:
        """Whether something is attested of all results, and not of images in an index alone."""
        is_provenance = self.provenance is not None and not self.provenance.inline_only
        return is_provenance or self.sbom is not None


def read_options(attestations: Iterable[Attestation]) -> AttestOptions:
    """Understand what is to be attested. Raises InputError."""
    provenance, sbom = None, None
    for each in attestations:
        if each.disabled:
            continue
        if each.type == PROVENANCE:
            provenance = _provenance(each.attributes)
        elif each.type == SBOM:
            sbom = _sbom(each.attributes)
        else:
            near = suggestion(each.type, (PROVENANCE, SBOM))
            raise InputError(f"unknown attestation type {quote(each.type)}{near}")
    return AttestOptions(provenance=provenance, sbom=sbom)


def _provenance(attributes: Mapping[str, str]) -> ProvenanceOptions:
    mode, version = attributes.get("mode", "max"), attributes.get("version", "v1")
    if mode not in _MODES:
        raise InputError(f"invalid mode {quote(mode)}", hint="provenance has the modes min and max")
    if not version:
        raise InputError("provenance SLSA version cannot be empty")
    if version not in _VERSIONS:
        raise InputError(
            f"invalid provenance SLSA version: {version}", hint="the versions are v1 and v0.2"
        )
    if find_bool(attributes.get("capture-usage", "")):
        raise InputError(
            "capture-usage of provenance isn't supported: nothing here measures what steps use",
            hint="leave it out",
        )
    return ProvenanceOptions(
        mode=_MODES[mode],
        version=version,
        inline_only=find_bool(attributes.get("inline-only", "")) is True,
        builder_id=attributes.get("builder-id", ""),
        filename=attributes.get("filename") or "provenance.json",
        reproducible=_flag(attributes, "reproducible"),
        complete_materials=_flag(attributes, "complete-materials"),
    )


def _flag(attributes: Mapping[str, str], name: str) -> bool:
    if name not in attributes:
        return False
    text = attributes[name]
    try:
        return parse_bool(text)
    except InputError as error:
        raise InputError(f"failed to parse {name} flag {quote(text)}: {error}") from error


def _sbom(attributes: Mapping[str, str]) -> SbomOptions:
    if "generator" in attributes:
        generator = attributes["generator"]
        if not generator:
            raise InputError("sbom generator cannot be empty")
        others = {name: value for name, value in attributes.items() if name != "generator"}
        return SbomOptions(generator=generator, parameters={"type": SBOM, **others})
    formats = tuple(dict.fromkeys(attributes.get("format", "spdx").replace("+", " ").split()))
    for each in formats:
        if each not in _FORMATS:
            raise InputError(
                f"invalid format {quote(each)} of sbom{suggestion(each, _FORMATS)}",
                hint="the formats are spdx and cyclonedx, both as format=spdx+cyclonedx",
            )
    return SbomOptions(formats=formats or ("spdx",))
