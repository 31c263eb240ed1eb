"""What registries say no with, as errors that tell what can be done about it."""

from __future__ import annotations

import json

from polyarch.digest import Digest
from polyarch.errors import NotFound, RegistryError, RemoteError
from polyarch.http.origin import origin_of, shown
from polyarch.http.retry import passes, told_wait
from polyarch.oci.media import OCI_INDEX, OCI_MANIFEST
from polyarch.registry.auth import merge_scopes
from polyarch.registry.transport import SETTINGS, Request, Response

__all__ = ["keeps_tags", "refusal", "told_of_tag"]

_HINTS = {
    413: "the registry, or a proxy before it (client_max_body_size of nginx), has to take larger requests",
    429: "the registry limits how often it is asked: log in, or wait",
}
_KEEPS_TAGS = frozenset({400, 403, 405, 409, 412, 422})
"""How registries refuse to have a tag changed."""
_EXPIRED = frozenset({400, 403})
"""How storage says that a signature holds no longer: Google's, and others."""
_WORDS = ("message", "error_description", "detail", "error")
_LONGEST = 200
_NO_INDEX = (
    "registries that don't know OCI's media types may take Docker's: "
    "--output type=registry,oci-mediatypes=false"
)
_REFUSED = frozenset({400, 406, 415, 422})
"""How registries refuse a document whose kind they don't know."""


def refusal(response: Response, request: Request, what: str) -> RegistryError | NotFound:
    """Return the error for an answer that isn't the wished one; `what` completes "can't ...".

    NotFound for what isn't there, else RegistryError with the codes of the distribution spec.
    """
    codes, messages = _errors(response)
    text = f"can't {what}: {request.method} {shown(response.url)} says {response.status}"
    if messages:
        text += ": " + "; ".join(messages)
    if response.status == 404:
        text = "; ".join((f"{text}: not found", *response.tried))
        return NotFound(text, hint="check the name and the tag")
    text = "; ".join((text, *response.tried))
    if response.status in {401, 403}:
        wanted = " ".join(merge_scopes(request.scopes))
        pushes = "push" in wanted.rpartition(":")[2]
        kind = "push" if pushes else "pull"
        text = (
            f"{kind} access denied, repository does not exist or may require authorization: {text}"
        )
        hint = f"log in with a user who may do that: polyarch login {request.domain}"
        if not response.is_own:
            hint = f"{origin_of(response.url)} isn't given the credentials of {request.domain}, which led there"
    elif response.status == 400 and response.url.startswith("http:") and not codes:
        hint = (
            f'it may want HTTPS: set http = false for [registry."{request.domain}"] in {SETTINGS}'
        )
    else:
        hint = _HINTS.get(response.status) or _document_hint(request, response.status)
    return RegistryError(
        text,
        hint=hint,
        status=response.status,
        codes=codes,
        temporary=passes(response.status) or _is_signed(response, request),
        wait=told_wait(response.headers),
    )


def keeps_tags(error: RegistryError) -> bool:
    """Tell whether a manifest may have been refused because its tag is there already."""
    return error.status in _KEEPS_TAGS


def told_of_tag(error: RegistryError, tag: str, known: Digest) -> RegistryError:
    """Return the error of a push with what a tag stands for, which may be the reason."""
    return RegistryError(
        str(error),
        hint=f"{tag} is {known} already: if tags can't be changed there, push under another one",
        status=error.status,
        codes=error.codes,
    )


def _is_signed(response: Response, request: Request) -> bool:
    """Tell whether storage elsewhere has refused what may be signed anew: signatures expire, also on the way there."""
    return not response.is_own and request.method == "GET" and response.status in _EXPIRED


def _document_hint(request: Request, status: int) -> str:
    """Return what helps with a registry that is older than the specification of its images."""
    kind = request.headers.get("Content-Type", "") if request.method == "PUT" else ""
    return _NO_INDEX if status in _REFUSED and kind in {OCI_INDEX, OCI_MANIFEST} else ""


def _errors(response: Response) -> tuple[tuple[str, ...], list[str]]:
    """Return the codes and the texts of a refusal: of the specification's document, or what others say in its place."""
    try:
        data = response.read()
    except RemoteError:
        return (), []
    try:
        found = json.loads(data)
        errors = found["errors"]
        codes = tuple(str(error.get("code", "")) for error in errors)
        texts = (f"{e.get('code', '')}: {e.get('message', '')}" for e in errors)
        return codes, [text.removeprefix(": ") for text in texts]
    except (LookupError, TypeError, AttributeError):
        return (), _other_words(found)
    except (ValueError, RecursionError):
        kind = response.headers.get("Content-Type", "")
        return (), _first_line(data) if kind.startswith("text/plain") else []


def _other_words(found: object) -> list[str]:
    """Return what a document of another form says, as those of GitLab, Quay and gateways are."""
    texts = (found.get(key) for key in _WORDS) if isinstance(found, dict) else iter(())
    return [text[:_LONGEST] for text in texts if isinstance(text, str) and text][:1]


def _first_line(data: bytes) -> list[str]:
    """Return the beginning of a text, as proxies of companies say why they let nothing pass."""
    lines = data[: 4 * _LONGEST].decode(errors="replace").split("\n")
    return [line.strip()[:_LONGEST] for line in lines if line.strip()][:1]
