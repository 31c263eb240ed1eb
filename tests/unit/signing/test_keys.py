"""Keys of all kinds and forms, and what is said of those that can't be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polyarch.errors import InputError, MachineError
from polyarch.signing.keys import load_private_key, load_public_key
from tests.support.images.keys import write_cosign_key, write_key

PASSWORD = {"COSIGN_PASSWORD": "sesame-of-keys"}


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519", "rsa"])
def test_what_a_key_signs_is_believed_by_its_other_half_alone(tmp_path: Path, kind: str) -> None:
    private, public = write_key(tmp_path, kind)
    _, other = write_key(tmp_path, "other")

    signature = load_private_key(private, {}).sign(b"data")

    assert load_public_key(public, {}).verify(signature, b"data")
    assert not load_public_key(public, {}).verify(signature, b"dath")
    assert not load_public_key(public, {}).verify(signature[:-1], b"data")
    assert not load_public_key(other, {}).verify(signature, b"data")
    # The same again, so that an unchanged image isn't signed anew.
    assert load_private_key(private, {}).sign(b"data") == signature


def test_keys_are_locked_by_passwords_and_may_be_in_variables(tmp_path: Path) -> None:
    cosign, public = write_cosign_key(tmp_path / "cosign", PASSWORD["COSIGN_PASSWORD"])
    pem, _ = write_key(tmp_path / "pem", "ecdsa", PASSWORD["COSIGN_PASSWORD"])
    empty, _ = write_cosign_key(tmp_path / "empty", "")
    inside = {"KEY": Path(cosign).read_text(), **PASSWORD}
    known = load_public_key(public, {}).fingerprint

    for key in (
        load_private_key(cosign, PASSWORD),
        load_private_key(pem, PASSWORD),
        load_private_key(empty, {}),
        load_private_key("env://KEY", inside),
    ):
        assert key.public.fingerprint == known
    assert load_public_key("env://PUB", {"PUB": Path(public).read_text()}).fingerprint == known


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    cosign, _ = write_cosign_key(tmp_path / "cosign", "right")
    pem, public = write_key(tmp_path / "pem", "ecdsa", "right")
    large, large_public = write_key(tmp_path, "too large")
    (tmp_path / "text").write_text("no key")
    (tmp_path / "odd").write_text(
        "-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\ne30=\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n"
    )
    text, odd = str(tmp_path / "text"), str(tmp_path / "odd")
    wrong = {"COSIGN_PASSWORD": "not that one"}

    said = []
    for name, environ in (
        (cosign, {}), (cosign, wrong), (pem, {}), (pem, wrong),
        (text, {}), (odd, {}), (large, {}), (f"{text}s", {}), ("env://NONE", {}), ("awskms://k", {}),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            load_private_key(name, environ)
        said.append(str(caught.value).replace(str(tmp_path), ""))
        assert "not that one" not in f"{caught.value}{caught.value.hint}"

    assert said == [
        "the key /cosign/ecdsa.key is encrypted, and there is no password",
        "the key /cosign/ecdsa.key doesn't open by the password in COSIGN_PASSWORD",
        "the key /pem/ecdsa.key is encrypted, and there is no password",
        "the key /pem/ecdsa.key doesn't open by the password in COSIGN_PASSWORD",
        "/text holds no private key that can be read",
        "/odd holds no private key that can be read",
        "/too large.key is a key of another kind than ECDSA on P-256, Ed25519 or RSA",
        "can't read the key /texts: No such file or directory",
        "there is no key in the variable NONE",
        "the key awskms://k isn't supported: keys are files, or env://NAME",
    ]
    with pytest.raises(InputError, match="is a private key"):
        load_public_key(pem, {})
    with pytest.raises(InputError, match="of another kind"):
        load_public_key(large_public, {})
    with pytest.raises(InputError, match="holds no public key"):
        load_public_key(text, {})
    assert load_public_key(public, {}).hint


def test_the_library_is_named_where_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _ = write_key(tmp_path, "ecdsa")
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)

    with pytest.raises(MachineError) as caught:
        load_private_key(private, {})

    assert caught.value.hint == "install them with polyarch: pip install 'polyarch[sign]'"
