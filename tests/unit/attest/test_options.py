"""The attributes of `--attest`, and BuildKit's words for what they can't be."""

from __future__ import annotations

import pytest

from polyarch.attest.options import AttestOptions, ProvenanceOptions, SbomOptions, read_options
from polyarch.errors import InputError
from polyarch.request.attestation import DEFAULT_PROVENANCE, Attestation


def of(kind: str, **attributes: str) -> AttestOptions:
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return read_options([Attestation(type=kind, attributes=named)])


def test_provenance_is_full_if_it_is_asked_for_and_short_if_it_is_not() -> None:
    assert of("provenance").provenance == ProvenanceOptions(mode="max")
    assert of("provenance", mode="full").provenance == ProvenanceOptions(mode="max")
    default = read_options([DEFAULT_PROVENANCE])
    assert default.provenance == ProvenanceOptions(mode="min", inline_only=True)
    assert not default.is_for_files


def test_all_attributes_of_provenance() -> None:
    found = of(
        "provenance",
        mode="min",
        version="v0.2",
        builder_id="https://ci.test/1",
        filename="p.json",
        reproducible="true",
        complete_materials="1",
    )

    assert found.provenance == ProvenanceOptions(
        mode="min",
        version="v0.2",
        builder_id="https://ci.test/1",
        filename="p.json",
        reproducible=True,
        complete_materials=True,
    )
    assert found.is_for_files


def test_lists_of_software() -> None:
    assert of("sbom").sbom == SbomOptions(formats=("spdx",))
    assert of("sbom", format="cyclonedx").sbom == SbomOptions(formats=("cyclonedx",))
    assert of("sbom", format="spdx+cyclonedx").sbom == SbomOptions(formats=("spdx", "cyclonedx"))


def test_what_is_off_is_not_read() -> None:
    off = Attestation(type="provenance", disabled=True, attributes={"mode": "none"})

    assert read_options([off]) == AttestOptions()


@pytest.mark.parametrize(
    ("kind", "attributes", "message"),
    [
        ("bogus", {}, 'unknown attestation type "bogus"'),
        ("provenance", {"mode": "some"}, 'invalid mode "some"'),
        ("provenance", {"version": "v2"}, "invalid provenance SLSA version: v2"),
        ("provenance", {"version": ""}, "provenance SLSA version cannot be empty"),
        (
            "provenance",
            {"reproducible": "maybe"},
            'failed to parse reproducible flag "maybe": strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "provenance",
            {"capture_usage": "true"},
            "capture-usage of provenance isn't supported: nothing here measures what steps use",
        ),
        ("sbom", {"generator": ""}, "sbom generator cannot be empty"),
        ("sbom", {"format": "cyclone"}, 'invalid format "cyclone" of sbom'),
    ],
)
def test_what_is_refused(kind: str, attributes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        of(kind, **attributes)

    assert str(caught.value).startswith(message)


def test_a_generator_has_parameters_of_its_own() -> None:
    attributes = {"generator": "lists:1", "format": "its-own", "Key": "x"}

    found = read_options([Attestation(type="sbom", attributes=attributes)]).sbom

    assert found == SbomOptions(
        generator="lists:1", parameters={"type": "sbom", "format": "its-own", "Key": "x"}
    )
