"""Sigstore's services, made from their protocols: a certificate authority with a log of its own, and Rekor's log.

Each certificate is for whom the token says; each log holds one entry, which is the tree.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.network.web import listening

__all__ = ["IDENTITY", "ISSUER", "Sigstore", "sigstore", "token"]

IDENTITY = "https://ci.example/you/app/.github/workflows/build.yml@refs/heads/main"
ISSUER = "https://token.ci.example"
_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_TIMESTAMPS_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_START = "2020-01-01T00:00:00Z"


def token(identity: str = IDENTITY) -> str:
    """Return a token that says who somebody is; nobody checks its signature here."""
    now = int(time.time())
    claims = {"aud": "sigstore", "sub": identity, "iat": now, "exp": now + 300, "iss": ISSUER}
    parts = (json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode(), b"signed")
    return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts)


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass(slots=True)
class Sigstore:
    """The services, and whom they have given certificates."""

    address: str = ""
    certified: list[str] = field(default_factory=list)
    _authority: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    _timestamps: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    _log: ec.EllipticCurvePrivateKey = field(default_factory=_key)

    def config(self) -> str:
        """Return what clients have to know: where the services are, and their keys."""
        since = {"start": _START}
        service = {
            "url": self.address,
            "majorApiVersion": 1,
            "validFor": since,
            "operator": "test",
        }
        root = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._described(self._log)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "test", "commonName": "test"},
                    "uri": self.address,
                    "certChain": {
                        "certificates": [
                            {"rawBytes": _b64(self._root().public_bytes(Encoding.DER))}
                        ]
                    },
                    "validFor": since,
                }
            ],
            "ctlogs": [self._described(self._timestamps)],
        }
        services = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            **{name: [service] for name in ("caUrls", "oidcUrls", "rekorTlogUrls")},
            "rekorTlogConfig": {"selector": "ANY"},
        }
        kind = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
        return json.dumps({"mediaType": kind, "trustedRoot": root, "signingConfig": services})

    def _described(self, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        der = _der(key)
        return {
            "baseUrl": self.address,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": _b64(der),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": _START},
            },
            "logId": {"keyId": _b64(hashlib.sha256(der).digest())},
        }

    # --- the authority ---

    def _name(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test")])

    def _root(self) -> x509.Certificate:
        public = self._authority.public_key()
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(self._name())
            .issuer_name(self._name())
            .public_key(public)
            .serial_number(1)
            .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
            .not_valid_after(dt.datetime(2090, 1, 1, tzinfo=dt.UTC))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._authority, hashes.SHA256())
        )

    def certify(self, asked: dict[str, Any], bearer: str) -> dict[str, Any]:
        """Give a certificate for ten minutes to whom a token is of, after its timestamp was signed."""
        claims = bearer.split(".")[1]
        identity = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
        self.certified.append(identity)
        request = x509.load_pem_x509_csr(base64.b64decode(asked["certificateSigningRequest"]))
        public = request.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        now = dt.datetime.now(dt.UTC)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._authority.public_key())
        issuer = ISSUER.encode()
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name())
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(minutes=10))
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(authority, critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]),
                critical=True,
            )
            .add_extension(
                x509.UnrecognizedExtension(_ISSUER_OID, bytes([0x0C, len(issuer)]) + issuer),
                critical=False,
            )
        )
        plain = builder.sign(self._authority, hashes.SHA256())
        stamps = x509.UnrecognizedExtension(_TIMESTAMPS_OID, self._stamp(plain))
        whole = builder.add_extension(stamps, critical=False).sign(self._authority, hashes.SHA256())
        chain = [each.public_bytes(Encoding.PEM).decode() for each in (whole, self._root())]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}

    def _stamp(self, certificate: x509.Certificate) -> bytes:
        """Sign that a certificate was seen. Source: RFC 6962, sections 3.2 and 3.3."""
        body = certificate.tbs_certificate_bytes
        milliseconds = int(time.time() * 1000)
        issuer = hashlib.sha256(_der(self._authority)).digest()
        head = struct.pack("!BBQH", 0, 0, milliseconds, 1)
        entry = issuer + struct.pack("!I", len(body))[1:] + body
        signature = _sign(self._timestamps, head + entry + b"\0\0")
        log = hashlib.sha256(_der(self._timestamps)).digest()
        stamp = struct.pack("!B32sQHBBH", 0, log, milliseconds, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        assert len(listed) < 128
        return bytes([0x04, len(listed)]) + listed

    # --- the log ---

    def write(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """Write an envelope down; return the entry with its proofs."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"])

        def hashed(data: bytes) -> dict[str, str]:
            return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}

        entry = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": hashed(content["envelope"].encode()),
                "payloadHash": hashed(payload),
                "signatures": [
                    {
                        "signature": envelope["signatures"][0]["sig"],
                        "verifier": content["verifiers"][0],
                    }
                ],
            },
        }
        body = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        log = hashlib.sha256(_der(self._log)).digest()
        told = {
            "body": _b64(body),
            "integratedTime": int(time.time()),
            "logID": log.hex(),
            "logIndex": 0,
        }
        promise = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
        root = hashlib.sha256(b"\0" + body).digest()
        note = f"test\n1\n{_b64(root)}\n"
        proof = {
            "checkpoint": f"{note}\n\N{EM DASH} test {_b64(log[:4] + _sign(self._log, note.encode()))}\n",
            "hashes": [],
            "logIndex": 0,
            "rootHash": root.hex(),
            "treeSize": 1,
        }
        signed = _b64(_sign(self._log, promise))
        verification = {"inclusionProof": proof, "signedEntryTimestamp": signed}
        return {root.hex(): {**told, "verification": verification}}


@contextlib.contextmanager
def sigstore() -> Iterator[Sigstore]:
    """Serve for the time of the block."""
    services = Sigstore()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/v2/signingCert":
                answer = services.certify(asked, self.headers["Authorization"])
            else:
                assert self.path == "/api/v1/log/entries"
                answer = services.write(asked)
            data = json.dumps(answer).encode()
            self.send_response(201)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with listening(Handler) as address:
        services.address = address
        yield services
