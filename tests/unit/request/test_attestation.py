"""Which attestations a build makes."""

from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.request.attestation import (
    DEFAULT_PROVENANCE,
    Attestation,
    attest_attributes,
    chosen,
)
from polyarch.request.make import make_request


def test_later_ones_of_a_type_win_and_those_that_are_off_are_gone() -> None:
    full = Attestation(type="provenance", attributes={"mode": "max"})
    sbom = Attestation(type="sbom")

    assert chosen([DEFAULT_PROVENANCE, sbom, full]) == (full, sbom)
    assert chosen([full, Attestation(type="provenance", disabled=True)]) == ()


def test_provenance_is_made_unless_something_is_said() -> None:
    assert make_request(".").attestations == (DEFAULT_PROVENANCE,)
    assert make_request(".", attestations=()).attestations == ()


def test_where_attestations_are_kept() -> None:
    assert make_request(".").attest_as == "index"
    assert make_request(".", attest_as="referrers").attest_as == "referrers"
    with pytest.raises(
        InputError, match=r'can\'t be stored as "referrer" \(did you mean referrers\?\)'
    ):
        make_request(".", attest_as="referrer")


def test_daemons_are_asked_in_their_words() -> None:
    listed = Attestation(type="sbom", attributes={"generator": "a,b", "x": "1"})
    off = Attestation(type="sbom", disabled=True)

    assert attest_attributes([DEFAULT_PROVENANCE, listed]) == {
        "attest:provenance": "mode=min,inline-only=true",
        "attest:sbom": '"generator=a,b",x=1',
    }
    assert attest_attributes([off]) == {}
