"""Who is trusted: the holder of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyarch.record import frozen
from polyarch.signing.verify import Found, Refused, Signatory, signed_bytes

if TYPE_CHECKING:
    from polyarch.signing.keys import PublicKey

__all__ = ["KeyJudge"]


@frozen
class KeyJudge:
    """Trusts what a key has signed."""

    key: PublicKey

    @property
    def name(self) -> str:
        """See Judge."""
        return f"the key {self.key.fingerprint}"

    def judge(self, found: Found) -> Signatory:
        """See Judge."""
        data, signature = signed_bytes(found)
        if not self.key.verify(signature, data):
            who = "a certificate" if found.has_certificate else "another key"
            raise Refused(f"a signature by {who}, or a damaged one")
        return Signatory(form=found.form, key=self.key.fingerprint)
