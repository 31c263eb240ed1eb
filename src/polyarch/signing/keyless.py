"""Signatures by an identity: somebody logs in, or a CI says which of its jobs this is, and no key has to be kept.

A service (Fulcio) gives a certificate for a key that lives as long as the build, another one (Rekor) writes down when it
signed. All of it is the library `sigstore`'s, of the project itself: which services there are, whom to trust, what to check.
It is an extra, and slow to load: who imports this module does so inside `needing_sigstore`, for those who sign or check by an identity.

Source: sigstore's client specification.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.x509 import (
    Certificate,
    ExtensionNotFound,
    RFC822Name,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    UnrecognizedExtension,
)
from sigstore.dsse import Statement
from sigstore.errors import Error, VerificationError
from sigstore.models import Bundle, ClientTrustConfig, TrustedRoot
from sigstore.oidc import IdentityToken, Issuer, detect_credential
from sigstore.sign import Signer as Certified
from sigstore.sign import SigningContext
from sigstore.verify import Verifier

from polyarch.digest import Digest
from polyarch.errors import InputError, PolyarchError, RemoteError
from polyarch.oci.documents import document
from polyarch.record import frozen
from polyarch.signing.forms import BUNDLE, statement_of
from polyarch.signing.signer import Made
from polyarch.signing.verify import Found, Refused, Signatory

__all__ = ["IdentityJudge", "KeylessSigner", "Wanted", "open_judge", "open_keyless"]

TOKEN = "SIGSTORE_ID_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with a token of an identity, as GitLab's jobs and cosign have it."""
_AUDIENCE = "sigstore"
_ISSUER, _OLD_ISSUER = "1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1"
"""The extensions of certificates that say who vouches for the identity: as text in DER, and bare."""
_UTF8 = 0x0C
_HINT = "--sign key=FILE needs no services; private ones are named by --sign keyless,config=FILE"


# --- signing ---


class KeylessSigner:
    """Signs by an identity, with one certificate for all that is signed."""

    def __init__(self, config: str, environ: Mapping[str, str], *, may_ask: bool) -> None:
        self._config = config
        self._environ = environ
        self._may_ask = may_ask
        self._certified: Certified | None = None

    def check(self) -> None:
        """Raise InputError, RemoteError if nothing says who signs; nobody is asked yet."""
        if not self._may_ask and not _token(self._environ):
            raise _nobody()

    def sign(self, repository: str, subject: Digest) -> Made:
        """See Signer. The signature is a bundle alone: under a tag it couldn't say all that checks it."""
        with _services("sign"):
            certified = self._certified or self._log_in()
            self._certified = certified
            bundle = certified.sign_dsse(Statement(statement_of(repository, subject)))
        return Made(bundle=document(BUNDLE, bundle.to_json().encode()))

    def is_by(self, _payload: bytes, _signature: bytes) -> bool:
        """See Signer. Each signature is by a key of its own."""
        return False

    def _log_in(self) -> Certified:
        config = _trust(self._config)
        text = _token(self._environ)
        if text:
            token = IdentityToken(text)
        elif self._may_ask:
            token = _LOGINS.token(config.signing_config.get_oidc_url())
        else:
            raise _nobody()
        return Certified(token, SigningContext.from_trust_config(config))


class _Logins:
    """Who logged in once, for all that one command signs."""

    def __init__(self) -> None:
        self._tokens: dict[str, IdentityToken] = {}
        self._lock = threading.Lock()

    def token(self, issuer: str) -> IdentityToken:
        """Return a token of an issuer, for which somebody has to log in unless there is one that still holds."""
        with self._lock:
            found = self._tokens.get(issuer)
            if found is None or not found.in_validity_period():
                found = self._tokens[issuer] = Issuer(issuer).identity_token()
            return found


_LOGINS = _Logins()


def open_keyless(config: str, environ: Mapping[str, str], *, may_ask: bool) -> KeylessSigner:
    """Return what signs by the identity that is found here; `config` is a file of services, "" for the public ones.

    Raises InputError if nothing says who signs, RemoteError if a CI doesn't tell.
    """
    signer = KeylessSigner(config, environ, may_ask=may_ask)
    signer.check()
    return signer


def _token(environ: Mapping[str, str]) -> str:
    """Return the token that the surroundings have, "" if they have none. Raises RemoteError."""
    if environ.get(TOKEN):
        return environ[TOKEN]
    with _services("say who signs"):
        return detect_credential(_AUDIENCE) or ""


def _nobody() -> InputError:
    return InputError(
        "nothing here says who signs",
        hint=f"in GitHub's Actions a job needs the permission id-token: write, in GitLab's an id_token {TOKEN} "
        "with the audience sigstore; or sign by a key: --sign key=FILE",
    )


# --- verifying ---


@frozen
class Wanted:
    """The identity that has to have signed: in full, or a regular expression that occurs in it; so its issuer."""

    identity: str = ""
    identity_pattern: str = ""
    issuer: str = ""
    issuer_pattern: str = ""

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.identity or f'like {self.identity_pattern}'} ({self.issuer or f'like {self.issuer_pattern}'})"

    def fits(self, identity: str, issuer: str) -> bool:
        """Tell whether it is that."""
        return _fits(identity, self.identity, self.identity_pattern) and _fits(
            issuer, self.issuer, self.issuer_pattern
        )


def _fits(found: str, wanted: str, like: str) -> bool:
    return found == wanted if wanted else re.search(like, found) is not None


class IdentityJudge:
    """Trusts what an identity has signed."""

    def __init__(self, wanted: Wanted, verifier: Verifier) -> None:
        self._wanted = wanted
        self._verifier = verifier

    @property
    def name(self) -> str:
        """See Judge."""
        return str(self._wanted)

    def judge(self, found: Found) -> Signatory:
        """See Judge."""
        if not found.has_certificate:
            raise Refused("a signature by a key")
        if found.envelope is None:
            raise Refused(
                "a signature by a certificate under a tag, which doesn't hold all that checks it: "
                "newer versions of cosign put a bundle beside the image"
            )
        policy = _Policy(self._wanted)
        try:
            bundle = Bundle.from_json(found.envelope.bundle)
            _, statement = self._verifier.verify_dsse(bundle, policy)
        except (Error, ValueError) as error:
            raise Refused(f"a signature by a certificate that isn't right: {error}") from error
        if statement != found.envelope.statement:
            raise Refused("a bundle that can be read in two ways")
        return Signatory(form=found.form, identity=policy.identity, issuer=policy.issuer)


class _Policy:
    """What the library asks of a certificate that is right otherwise."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.identity = ""
        self.issuer = ""

    def verify(self, cert: Certificate) -> None:
        """Raise the library's error unless the certificate is for the identity."""
        issuer = _issuer(cert)
        identities = _identities(cert)
        for identity in identities:
            if self._wanted.fits(identity, issuer):
                self.identity, self.issuer = identity, issuer
                return
        raise VerificationError(f"it is one of {' and '.join(identities) or 'nobody'} ({issuer})")


def _identities(certificate: Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return []
    kinds = (RFC822Name, UniformResourceIdentifier)
    return [each.value for each in names if isinstance(each, kinds)]


def _issuer(certificate: Certificate) -> str:
    told = {
        each.oid.dotted_string: each.value.value
        for each in certificate.extensions
        if isinstance(each.value, UnrecognizedExtension)
    }
    text = told.get(_ISSUER, b"")
    if len(text) > 1 and text[0] == _UTF8 and text[1] == len(text) - 2 < 128:
        return text[2:].decode(errors="replace")
    return told.get(_OLD_ISSUER, b"").decode(errors="replace")


def open_judge(wanted: Wanted, root: str) -> IdentityJudge:
    """Return who trusts an identity; `root` is a file that says which services to believe, "" for the public ones.

    Raises InputError, RemoteError.
    """
    for each in (wanted.identity_pattern, wanted.issuer_pattern):
        try:
            re.compile(each)
        except re.error as error:
            raise InputError(f"{each!r} is no regular expression: {error}") from error
    with _services("say which keys are theirs"):
        return IdentityJudge(wanted, Verifier(trusted_root=_root(root)))


# --- services ---


def _root(path: str) -> TrustedRoot:
    if not path:
        return _trust("").trusted_root
    if '"signingConfig"' in _text(path) or '"signing_config"' in _text(path):
        return _trust(path).trusted_root
    try:
        return TrustedRoot.from_file(path)
    except ValueError as error:
        raise InputError(f"{path} says of no services whom to believe: {error}") from error


def _trust(path: str) -> ClientTrustConfig:
    """Return which services there are, and whom to believe. Raises InputError."""
    if not path:
        return ClientTrustConfig.production()
    try:
        return ClientTrustConfig.from_json(_text(path))
    except ValueError as error:
        raise InputError(
            f"{path} names no services: {error}",
            hint="it is a ClientTrustConfig, in JSON, as sigstore's clients have it",
        ) from error


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't text"
        raise InputError(f"can't read {path}: {reason}") from error


@contextmanager
def _services(what: str) -> Iterator[None]:
    """Turn what the library says of its services into an error of ours."""
    try:
        yield
    except PolyarchError:
        raise
    except Exception as error:  # the library's errors have no class in common
        reason = str(error) or str(error.__cause__ or "") or type(error).__name__
        raise RemoteError(f"the services of sigstore don't {what}: {reason}", hint=_HINT) from error
