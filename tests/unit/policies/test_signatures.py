"""Signatures of OpenPGP and ssh: checked by the right key alone. The recorded ones were made by gpg of the bytes `text`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from polyarch.policies.files import Directory
from polyarch.policies.inputs import Env
from polyarch.policies.openpgp import Detached, Unsigned
from polyarch.policies.policy import Action, Decision, File, Policy
from polyarch.policies.signatures import signature_of
from polyarch.policies.sshsig import is_signed_by
from polyarch.policies.told import Source, Told, ToldHttp, Wish

RECORDED = json.loads((Path(__file__).parents[2] / "golden/policies/openpgp.json").read_text())
KINDS = ("ed25519", "nistp256", "rsa2048")


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_signatures_are_those_of_their_keys(kind: str) -> None:
    signature = Detached.read(RECORDED[kind]["signature"].encode())
    right = signature.digest_of(b"text")
    keys = {each: RECORDED[each]["key"].encode() for each in KINDS}

    assert {each: signature.is_by(key, right) for each, key in keys.items()} == {
        each: each == kind for each in KINDS
    }
    assert not signature.is_by(keys[kind], signature.digest_of(b"another"))
    # One of several keys is enough.
    assert signature.is_by(b"".join(keys.values()), right)


def test_who_has_signed_is_told() -> None:
    told = signature_of(RECORDED["ed25519"]["signature"])["pgpSignature"]

    assert isinstance(told, dict)
    assert told["version"] == 4
    assert len(str(told["keyID"])) == 16
    assert signature_of("nothing") == {}


@pytest.mark.parametrize(
    "text", [b"", b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"]
)
def test_what_is_no_signature_is_refused(text: bytes) -> None:
    with pytest.raises(Unsigned):
        Detached.read(text)


def test_signatures_of_ssh(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("text")
    keys = {}
    for each in ("mine", "theirs"):
        path = tmp_path / each
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        keys[each] = path.with_suffix(".pub").read_bytes()

    def signed(namespace: str) -> str:
        (tmp_path / "data.sig").unlink(missing_ok=True)
        sign: list[str | Path] = [
            "ssh-keygen",
            "-q",
            "-Y",
            "sign",
            "-f",
            tmp_path / "mine",
            "-n",
            namespace,
            tmp_path / "data",
        ]
        subprocess.run(sign, check=True, stderr=subprocess.DEVNULL)
        return (tmp_path / "data.sig").read_text()

    assert is_signed_by(signed("git"), b"text", keys["mine"])
    assert not is_signed_by(signed("git"), b"another", keys["mine"])
    assert not is_signed_by(signed("git"), b"text", keys["theirs"])
    with pytest.raises(Unsigned, match="namespace: 'file'"):
        is_signed_by(signed("file"), b"text", keys["mine"])


def test_files_are_signed(tmp_path: Path) -> None:
    (tmp_path / "a.sig").write_text(RECORDED["rsa2048"]["signature"])
    (tmp_path / "a.asc").write_text(RECORDED["rsa2048"]["key"])
    text = 'package docker\ndecision := {"allow": verify_http_pgp_signature(input.http, "a.sig", "a.asc")}'
    policy = Policy(
        [File(name="p.rego", text=text)],
        Env(args={}, labels={}),
        Directory(path=str(tmp_path)).read,
    )
    source = Source(identifier="https://example.com/a")
    signature = Detached.read(RECORDED["rsa2048"]["signature"].encode())

    wish = policy.decide(source)
    assert wish == Wish(fields=frozenset({"http.checksum"}), checksum=("sha256", signature.suffix))

    def decided(data: bytes) -> Decision | Wish:
        http = ToldHttp(
            checksum="sha256:1", signed=signature.digest_of(data), suffix=signature.suffix
        )
        return policy.decide(source, Told(http=http))

    assert decided(b"text") == Decision(action=Action.ALLOW)
    assert decided(b"another") == Decision(action=Action.DENY)
