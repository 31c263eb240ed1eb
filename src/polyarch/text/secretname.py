"""Variables that are likely to hold a secret, by their names and values, and logins in addresses."""

from __future__ import annotations

import re

from polyarch.pattern import pattern

__all__ = ["is_secret_name", "looks_secret", "without_login"]

# Source: BuildKit's check SecretsUsedInArgOrEnv.
_SECRET = pattern(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = pattern(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)

_ANYWHERE = pattern(
    r"token|secret|passw|passphrase|pword|credential|api_?key|access_?key|private_?key",
    re.IGNORECASE,
)
_VALUE = pattern(
    r"gh[pousr]_\w{20}|github_pat_\w{20}|glpat-[\w-]{20}|xox[abprs]-[\w-]{10}|(?:AKIA|ASIA)[0-9A-Z]{16}"
    r"|npm_\w{30}|pypi-\w{16}|eyJ[\w-]{8,}\.eyJ[\w-]+\.|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_LOGIN = pattern(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/@\s]+)@")


def is_secret_name(name: str) -> bool:
    """Tell whether BuildKit takes a variable of that name for one that is made for a secret."""
    return bool(_SECRET.search(name)) and not _NO_SECRET.search(name)


def looks_secret(name: str, value: str) -> bool:
    """Tell whether a variable shouldn't be published: by its name, or as its value is a known kind of token.

    Rather one too many: what isn't published can still be asked for.
    """
    is_named = _ANYWHERE.search(name) is not None or is_secret_name(name)
    return is_named or _VALUE.search(value) is not None


def without_login(text: str) -> str:
    """Return a text without the logins in its addresses, masked as BuildKit masks them."""
    return _LOGIN.sub(_masked, text) if "://" in text else text


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}{'xxxxx:xxxxx' if ':' in match[2] else 'xxxxx'}@"
