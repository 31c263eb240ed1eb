"""The values of `--sign`."""

from __future__ import annotations

import pytest

from polyarch.errors import InputError
from polyarch.request.signing import Signing, parse_signing


def test_keys_and_identities() -> None:
    assert parse_signing("key=cosign.key") == Signing(key="cosign.key")
    assert parse_signing("key=env://KEY") == Signing(key="env://KEY")
    assert parse_signing("keyless") == Signing()
    assert parse_signing("keyless,config=services.json") == Signing(config="services.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", '"" isn\'t known'),
        ("cosign.key", '"cosign.key" isn\'t known'),
        ("keys=a", '"keys=a" isn\'t known (did you mean key?)'),
        ("key=", "key is empty"),
        ("key=a,keyless", "it has to name a key, or say keyless"),
        ("config=a", "it has to name a key, or say keyless"),
        ("key=a,config=b", "a key needs no services"),
    ],
)
def test_what_is_neither_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_signing(text)

    assert str(caught.value).partition("--sign: ")[2] == message
