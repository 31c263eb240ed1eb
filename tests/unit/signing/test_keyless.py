"""Signatures by identities, with services of our own: made, believed, and refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import InputError, RemoteError
from polyarch.request.signing import Signing
from polyarch.signing.forms import payload_of
from polyarch.signing.keyless import Wanted, open_judge
from polyarch.signing.opening import open_signers
from polyarch.signing.signer import Made
from polyarch.signing.verify import Found, Refused, Signatory, read_bundle
from tests.support.network.sigstore import IDENTITY, ISSUER, Sigstore, sigstore, token

SUBJECT = sha256(b"an index")
WANTED = Wanted(identity=IDENTITY, issuer=ISSUER)


@pytest.fixture(scope="module")
def services() -> Iterator[Sigstore]:
    with sigstore() as found:
        yield found


@pytest.fixture
def config(services: Sigstore, tmp_path: Path) -> str:
    path = tmp_path / "services.json"
    path.write_text(services.config())
    return str(path)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't be a job of a CI, whatever runs the tests."""
    for name in ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE"):
        monkeypatch.delenv(name, raising=False)


def made(config: str) -> Made:
    (signer,) = open_signers([Signing(config=config)], {"SIGSTORE_ID_TOKEN": token()})
    return signer.sign("registry.example/app", SUBJECT)


def test_an_identity_signs_and_is_believed(services: Sigstore, config: str) -> None:
    (signer,) = open_signers([Signing(config=config)], {"SIGSTORE_ID_TOKEN": token()})
    before = len(services.certified)
    bundles = [signer.sign("registry.example/app", SUBJECT) for _ in range(2)]

    found = read_bundle(SUBJECT, bundles[1].bundle.data)
    like = Wanted(identity_pattern=r"/you/app/", issuer_pattern=r"ci\.example$")

    # One certificate for all that a build signs.
    assert services.certified[before:] == [IDENTITY]
    assert bundles[0].payload is None
    for wanted in (WANTED, like):
        assert open_judge(wanted, config).judge(found) == Signatory(
            form="bundle", identity=IDENTITY, issuer=ISSUER
        )


def test_others_and_changed_statements_are_refused(config: str) -> None:
    found = read_bundle(SUBJECT, made(config).bundle.data)
    other = Wanted(identity="https://ci.example/others", issuer=ISSUER)
    elsewhere = Wanted(identity=IDENTITY, issuer="https://elsewhere.example")

    reasons = []
    for wanted in (other, elsewhere):
        with pytest.raises(Refused) as caught:
            open_judge(wanted, config).judge(found)
        reasons.append(str(caught.value).rpartition("isn't right: ")[2])
    assert reasons == [f"it is one of {IDENTITY} ({ISSUER})"] * 2
    changed = made(config).bundle.data.replace(b'"payload":"eyJ', b'"payload":"eyK')
    with pytest.raises(Refused, match="isn't right"):
        open_judge(WANTED, config).judge(read_bundle(SUBJECT, changed))
    tagged = Found(
        digest=SUBJECT, form="tag", payload=payload_of("app", SUBJECT), has_certificate=True
    )
    with pytest.raises(Refused, match="under a tag, which doesn't hold all"):
        open_judge(WANTED, config).judge(tagged)


def test_other_services_are_not_believed(config: str, tmp_path: Path) -> None:
    with sigstore() as others:
        path = tmp_path / "others.json"
        path.write_text(others.config())
        bundle = made(str(path)).bundle.data

    with pytest.raises(Refused, match="isn't right"):
        open_judge(WANTED, config).judge(read_bundle(SUBJECT, bundle))


def test_errors_say_who_is_missing(config: str, tmp_path: Path) -> None:
    assert "GITHUB_ACTIONS" not in os.environ
    with pytest.raises(InputError, match="nothing here says who signs"):
        open_signers([Signing(config=config)], {})
    for text in ("no token", token().replace(".", "!")):
        (signer,) = open_signers([Signing(config=config)], {"SIGSTORE_ID_TOKEN": text})
        with pytest.raises(RemoteError) as caught:
            signer.sign("app", SUBJECT)
        assert str(caught.value).startswith("the services of sigstore don't sign: Identity token")
        assert text not in str(caught.value)
    (tmp_path / "wrong.json").write_text("{}")
    (signer,) = open_signers(
        [Signing(config=str(tmp_path / "wrong.json"))], {"SIGSTORE_ID_TOKEN": token()}
    )
    with pytest.raises(InputError, match=r"wrong\.json names no services"):
        signer.sign("app", SUBJECT)
    with pytest.raises(InputError, match="is no regular expression"):
        open_judge(Wanted(identity_pattern="(", issuer=ISSUER), config)
