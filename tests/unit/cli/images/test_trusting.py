"""The flags of `verify` that say who is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.cli.frame.flags import parse_flags
from polyarch.cli.images.trusting import TRUST_FLAGS, find_judge
from polyarch.errors import InputError
from polyarch.signing.keys import load_public_key
from polyarch.signing.verify import Judge
from tests.support.images.keys import write_key


def judge_of(*words: str) -> Judge | None:
    return find_judge(parse_flags(TRUST_FLAGS, words), {})


def test_nobody_or_a_key(tmp_path: Path) -> None:
    _, public = write_key(tmp_path, "ecdsa")

    judge = judge_of("--key", public)

    assert judge_of() is None
    assert judge is not None
    assert judge.name == f"the key {load_public_key(public, {}).fingerprint}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--key=a", "--certificate-identity=b"], "cannot be used together"),
        (["--trusted-root=a"], "--trusted-root is for identities"),
        (["--certificate-identity=a"], "one of --certificate-oidc-issuer and"),
        (["--certificate-oidc-issuer=a"], "one of --certificate-identity and"),
        (
            [
                "--certificate-identity=a",
                "--certificate-identity-regexp=a",
                "--certificate-oidc-issuer=b",
            ],
            "one of --certificate-identity and",
        ),
    ],
)
def test_half_an_identity_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge_of(*words)
