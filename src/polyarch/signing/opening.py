"""What is asked for -> what signs; the libraries are loaded here, for those who sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polyarch.request.signing import Signing
from polyarch.signing.needs import needing_keys, needing_sigstore
from polyarch.signing.signer import KeySigner, Signer

__all__ = ["open_signers"]


def open_signers(signings: Iterable[Signing], environ: Mapping[str, str]) -> tuple[Signer, ...]:
    """Return the signers that are asked for; keys are read now, identities found out later.

    Raises InputError for a key that can't be used, or where nothing says who signs; MachineError without the libraries.
    """
    signers: list[Signer] = []
    for each in signings:
        if each.key:
            with needing_keys():
                from polyarch.signing.keys import load_private_key  # noqa: PLC0415 few builds sign

            signers.append(KeySigner(key=load_private_key(each.key, environ)))
        else:
            with needing_sigstore():
                from polyarch.signing.keyless import open_keyless  # noqa: PLC0415 as above

            signers.append(open_keyless(each.config, environ, may_ask=each.may_ask))
    return tuple(signers)
