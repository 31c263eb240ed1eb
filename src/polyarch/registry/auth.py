"""How a registry is told who asks: Basic, or Bearer with a token from the registry's own authority.

Nothing here talks to the network: `Authorizer` is given a function that does. Sources: RFC 7235 for
challenges; the token specification of the distribution project, both its GET and its OAuth2 form.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlencode

from polyarch.errors import RegistryError
from polyarch.http.origin import basic, shown
from polyarch.pattern import pattern
from polyarch.record import field, frozen
from polyarch.registry.credentials import ANONYMOUS, Credential

__all__ = ["Authorizer", "Challenge", "TokenFetch", "merge_scopes", "parse_challenges"]

_CLIENT_ID = "polyarch"
_DEFAULT_LIFETIME = 60.0
_USED_LIFETIME = 0.9  # of a token's lifetime; the rest is for clocks and slow requests

TokenFetch = Callable[[str, str, Mapping[str, str], bytes], tuple[int, bytes]]
"""Sends (method, URL, headers, body) and returns the status and the body of the answer."""


@frozen
class Challenge:
    """One way in that a registry offers: "bearer" or "basic", with its parameters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


_CHALLENGE = pattern(
    r'\s*,?\s*(?:([A-Za-z0-9_.~+-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([A-Za-z0-9_-]+)(?=\s|$))'
)


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read `WWW-Authenticate` headers, Bearer before Basic; what can't be read is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        for match in _CHALLENGE.finditer(header):
            key, quoted, bare, scheme = match.groups()
            if scheme is not None:
                found.append((scheme.lower(), {}))
            elif found:
                value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                found[-1][1][key.lower()] = value
    known = [Challenge(scheme=scheme, parameters=values) for scheme, values in found]
    return tuple(sorted(known, key=lambda challenge: challenge.scheme != "bearer"))


def merge_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Join the actions wanted of the same resource, each sorted: one scope for each resource."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        resource, _, wanted = scope.rpartition(":")
        actions.setdefault(resource, set()).update(wanted.split(","))
    return tuple(
        f"{resource}:{','.join(sorted(wanted))}" for resource, wanted in sorted(actions.items())
    )


class Authorizer:
    """The headers that open one registry; remembers which way in it wanted, and its tokens."""

    def __init__(
        self, host: str, credential: Callable[[bool], Credential], fetch: TokenFetch
    ) -> None:
        """`credential` is only called when the registry wants to know, with True if it refused the last one.

        What helpers give out may last for minutes only, less than a push.
        """
        self._host = host
        self._credential = credential
        self._fetch = fetch
        self._basic = ""
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scopes: Iterable[str]) -> str:
        """Return the `Authorization` that is known to fit, or "" to ask without."""
        token, until = self._tokens.get(merge_scopes(scopes), ("", 0.0))
        return f"Bearer {token}" if token and time.monotonic() < until else self._basic

    def answer(self, challenges: Iterable[Challenge], scopes: Iterable[str], refused: str) -> str:
        """Return the `Authorization` for a registry that said 401 to the header `refused`.

        Returns "" if there is no way in. Raises RegistryError if the token's authority refuses.
        """
        with self._lock:
            current = self.header(scopes)
            if current != refused:
                return current  # another thread has got a token meanwhile
            for challenge in challenges:
                if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                    return f"Bearer {self._token(challenge.parameters, merge_scopes(scopes))}"
                if challenge.scheme == "basic":
                    return self._answer_basic(refused)
        return ""

    def _answer_basic(self, refused: str) -> str:
        if refused and refused != self._basic:
            return ""
        found = _basic(self._credential(bool(refused)))
        if found == refused:
            return ""
        self._basic = found
        return found

    def _token(self, parameters: Mapping[str, str], scopes: tuple[str, ...]) -> str:
        offered = parameters.get("scope", "").split()
        wanted = merge_scopes((*scopes, *offered))
        credential = self._credential(False)
        if credential.registry_token:
            return credential.registry_token
        status, body = self._ask(parameters, wanted, credential)
        if status in {400, 401, 403} and credential != ANONYMOUS:
            renewed = self._credential(True)
            if renewed != credential:
                status, body = self._ask(parameters, wanted, renewed)
        if status != 200:
            raise RegistryError(
                f"failed to authorize at {shown(parameters['realm'])}: status {status}",
                hint=f"log in again: polyarch login {self._host}",
                status=status,
            )
        token, lifetime = _read_token(body, shown(parameters["realm"]))
        self._tokens[scopes] = (token, time.monotonic() + lifetime * _USED_LIFETIME)
        return token

    def _ask(
        self, parameters: Mapping[str, str], scopes: tuple[str, ...], credential: Credential
    ) -> tuple[int, bytes]:
        realm, service = parameters["realm"], parameters.get("service", "")
        if credential.identity_token or credential.user:
            form = {"service": service, "client_id": _CLIENT_ID, "scope": " ".join(scopes)}
            if credential.identity_token:
                form |= {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
            else:
                form |= {"grant_type": "password", "username": credential.user}
                form["password"] = credential.password
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            status, body = self._fetch("POST", realm, kind, urlencode(form).encode())
            # Not every authority knows the OAuth2 form, and they say so in every way there is: by 400, 401, 403, 404,
            # 405, or a page for people. The older one takes user and password.
            if not credential.user or (status == 200 and _find_token(body)[0]):
                return status, body
        query = urlencode([("service", service)] * bool(service) + [("scope", s) for s in scopes])
        join = "&" if "?" in realm else "?"
        basic = _basic(credential)
        headers = {"Authorization": basic} if basic else {}
        return self._fetch("GET", f"{realm}{join}{query}" if query else realm, headers, b"")


def _basic(credential: Credential) -> str:
    return basic(f"{credential.user}:{credential.password}") if credential.user else ""


def _read_token(body: bytes, realm: str) -> tuple[str, float]:
    token, lifetime = _find_token(body)
    if not lifetime:
        raise RegistryError(f"{realm} gave an answer that is no token")
    if not token:
        raise RegistryError(f"{realm} gave an answer without a token")
    return token, lifetime


def _find_token(body: bytes) -> tuple[str, float]:
    """Return a token, "" if there is none, and for how many seconds it lasts; 0 for what is no answer at all."""
    try:
        answer = json.loads(body)
        token = answer.get("token") or answer.get("access_token")
        lifetime = float(answer.get("expires_in") or _DEFAULT_LIFETIME)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return "", 0.0
    return (token if isinstance(token, str) else ""), lifetime
