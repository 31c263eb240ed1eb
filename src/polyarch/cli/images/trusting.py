"""Who is trusted to have signed an image: the flags of `verify`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from polyarch.cli.frame.flags import Flag, Options
from polyarch.errors import InputError
from polyarch.signing.needs import needing_keys, needing_sigstore

if TYPE_CHECKING:
    from polyarch.signing.verify import Judge

__all__ = ["TRUST_FLAGS", "find_judge"]

_IDENTITY = ("certificate-identity", "certificate-identity-regexp")
_ISSUER = ("certificate-oidc-issuer", "certificate-oidc-issuer-regexp")


def find_judge(options: Options, environ: Mapping[str, str]) -> Judge | None:
    """Return who is trusted, None if nothing is said of signatures. Raises InputError, MachineError, RemoteError."""
    named = [name for name in (*_IDENTITY, *_ISSUER) if options.text(name)]
    if options.text("key"):
        if named:
            raise InputError(f"--key and --{named[0]} cannot be used together")
        # Libraries that take long to load, and most images aren't asked who signed them.
        with needing_keys():
            from polyarch.signing.judges import KeyJudge  # noqa: PLC0415
            from polyarch.signing.keys import load_public_key  # noqa: PLC0415

        return KeyJudge(key=load_public_key(options.text("key"), environ))
    if not named:
        if options.text("trusted-root"):
            raise InputError(
                "--trusted-root is for identities", hint=f"say which: --{_IDENTITY[0]}"
            )
        return None
    for names in (_IDENTITY, _ISSUER):
        if sum(name in named for name in names) != 1:
            raise InputError(
                f"an identity is checked by one of --{names[0]} and --{names[1]}",
                hint="say who has signed, and who vouches for them: --certificate-identity, "
                "--certificate-oidc-issuer",
            )
    with needing_sigstore():
        from polyarch.signing.keyless import Wanted, open_judge  # noqa: PLC0415 see above

    wanted = Wanted(
        identity=options.text(_IDENTITY[0]),
        identity_pattern=options.text(_IDENTITY[1]),
        issuer=options.text(_ISSUER[0]),
        issuer_pattern=options.text(_ISSUER[1]),
    )
    return open_judge(wanted, options.text("trusted-root"))


TRUST_FLAGS = (
    Flag(name="certificate-identity", help="Who has to have signed: an address, a workflow"),
    Flag(name="certificate-identity-regexp", help="... as a regular expression"),
    Flag(name="certificate-oidc-issuer", help="Who vouches for the identity"),
    Flag(name="certificate-oidc-issuer-regexp", help="... as a regular expression"),
    Flag(name="key", help="Public key that has to have signed", completes="files"),
    Flag(
        name="trusted-root",
        help="File of the services that are believed (default: sigstore's public ones)",
        completes="files",
    ),
)
