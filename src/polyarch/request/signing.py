"""By whom the result of a build is signed: the values of `--sign`."""

from __future__ import annotations

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.record import frozen
from polyarch.text.nearest import suggestion

__all__ = ["KEYLESS", "Signing", "parse_signing"]

KEYLESS = "keyless"
_FIELDS = ("key", "config")


@frozen
class Signing:
    """A signer: `key` names a private key, a file or `env://NAME`; "" stands for an identity of OpenID Connect.

    `config` is a file that says which services give the certificate of an identity, "" for the public ones. With `may_ask`
    somebody is there who can log in.
    """

    key: str = ""
    config: str = ""
    may_ask: bool = False


def parse_signing(text: str) -> Signing:
    """Read `key=FILE`, `keyless` or `keyless,config=FILE`. Raises InputError."""
    words = text.split(",")
    is_keyless = KEYLESS in words
    fields = {}
    for word in words:
        name, equals, value = word.partition("=")
        if word == KEYLESS:
            continue
        if not equals or name not in _FIELDS:
            near = suggestion(name, (*_FIELDS, KEYLESS))
            raise InputError(
                f"invalid value {quote(text)} of --sign: {quote(word)} isn't known{near}",
                hint="write --sign key=FILE, --sign key=env://NAME, or --sign keyless",
            )
        if not value:
            raise InputError(f"invalid value {quote(text)} of --sign: {name} is empty")
        fields[name] = value
    if is_keyless == ("key" in fields):
        raise InputError(
            f"invalid value {quote(text)} of --sign: it has to name a key, or say keyless",
            hint="write --sign key=FILE, or --sign keyless",
        )
    if "config" in fields and not is_keyless:
        raise InputError(
            f"invalid value {quote(text)} of --sign: a key needs no services",
            hint="leave config out",
        )
    return Signing(key=fields.get("key", ""), config=fields.get("config", ""))
