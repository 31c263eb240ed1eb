"""Passwords, tokens and client certificates go to the origin they belong to, and to nobody it names.

Registries. A server that a request was led to asks for a password itself (CVE-2020-15157, storage and foreign layers); a
realm without TLS (CVE-2019-10214); redirects to another host, port or scheme with the header or the form
that holds a secret (CVE-2018-1000007, CVE-2018-18074, CVE-2018-20060, CVE-2022-27774, CVE-2022-27776,
CVE-2023-45289). What a helper that is missing leads to (CVE-2021-41092) is in tests/integration.
"""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from polyarch.digest import sha256
from polyarch.errors import NotFound, PolyarchError, RegistryError, RemoteError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import OCI_LAYER
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.credentials import Credentials
from polyarch.registry.hosts import Hosts
from polyarch.registry.settings.rules import Manner
from polyarch.registry.transport import Transport
from tests.support.network.certificates import server_side
from tests.support.network.spies import (
    PASSWORD,
    TOKEN,
    at_once,
    knows,
    mirrored,
    redirect,
    spoken_to,
    trusting,
)
from tests.support.network.web import Page, WebServer, web_server

BASIC = f"Basic {base64.b64encode(f'me:{PASSWORD}'.encode()).decode()}"
BLOB = b"bytes"
DIGEST = sha256(BLOB)
LAYER = Descriptor(media_type=OCI_LAYER, digest=DIGEST, size=len(BLOB))
REDIRECTS = (301, 302, 303, 307, 308)


def reference(server: WebServer) -> Reference:
    return parse_reference(f"{server.host}/app:1")


def client_of(stack: ExitStack, server: WebServer, hosts: Hosts | None = None) -> Client:
    """Return the client of somebody whom only `server` knows."""
    auths = {server.host: {"auth": BASIC.removeprefix("Basic ")}}
    credentials = Credentials({"DOCKER_AUTH_CONFIG": json.dumps({"auths": auths})})
    transport = Transport(hosts or Hosts(), credentials)
    stack.callback(transport.close)
    return Client(transport, CancelToken(), pause=at_once)


def wants_basic() -> Page:
    return Page(status=401, headers={"WWW-Authenticate": 'Basic realm="yours"'})


def wants_token(realm: str) -> Page:
    return Page(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})


# --- registries ---


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_storage_that_asks_for_the_password(
    stack: ExitStack, own: WebServer, other: WebServer, kind: str, status: int
) -> None:
    own.pages[f"/v2/app/blobs/{DIGEST}"] = redirect(f"{other.address}/blob", status)
    other.pages["/blob"] = wants_basic() if kind == "basic" else wants_token(f"{other.address}/t")
    other.pages["/t"] = Page(b'{"token": "x"}')

    with pytest.raises(RegistryError, match="says 401") as caught:
        list(client_of(stack, own).read_blob(f"{own.host}/app", LAYER))

    assert not knows(other)
    assert [asked.path for asked in other.asked] == ["/blob"]
    assert caught.value.hint.endswith(f"isn't given the credentials of {own.host}, which led there")


def test_a_token_stays_with_the_registry(
    stack: ExitStack, own: WebServer, other: WebServer
) -> None:
    own.pages["/t"] = Page(json.dumps({"token": TOKEN}).encode())
    own.pages[f"/v2/app/blobs/{DIGEST}"] = wants_token(f"{own.address}/t")
    other.pages["/blob"] = Page(BLOB)
    client = client_of(stack, own)
    with pytest.raises(RegistryError):
        list(client.read_blob(f"{own.host}/app", LAYER))
    own.pages[f"/v2/app/blobs/{DIGEST}"] = redirect(f"{other.address}/blob")

    assert b"".join(client.read_blob(f"{own.host}/app", LAYER)) == BLOB

    assert own.asked[-1].authorization == f"Bearer {TOKEN}"
    assert [asked.authorization for asked in other.asked] == [""]


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_an_upload_elsewhere_that_asks_for_the_password(
    stack: ExitStack, own: WebServer, other: WebServer, kind: str
) -> None:
    location = {"Location": f"{other.address}/up?state=1"}
    own.pages["POST /v2/app/blobs/uploads/"] = Page(status=202, headers=location)
    other.pages["/up"] = wants_basic() if kind == "basic" else wants_token(f"{other.address}/t")

    def body() -> Generator[bytes, None, None]:
        yield BLOB

    with pytest.raises(RegistryError, match="says 401"):
        client_of(stack, own).upload_blob(f"{own.host}/app", DIGEST, len(BLOB), body)

    assert not knows(other)
    assert [asked.method for asked in other.asked] == ["PUT"]


def test_an_upload_behind_a_proxy_that_speaks_tls_stays_in_tls(
    stack: ExitStack, secure: WebServer, certificates: Path
) -> None:
    own = secure
    plain = own.address.replace("https:", "http:")
    location = {"Location": f"{plain}/up?state=1"}
    own.pages["POST /v2/app/blobs/uploads/"] = Page(status=202, headers=location)
    own.pages["/up"] = Page(status=201)

    def body() -> Generator[bytes, None, None]:
        yield BLOB

    client = client_of(stack, own, trusting(own, certificates))
    client.upload_blob(f"{own.host}/app", DIGEST, len(BLOB), body)

    assert [(asked.method, asked.body) for asked in own.asked][-1] == ("PUT", BLOB)


def test_a_mirror_is_asked_as_itself(stack: ExitStack, own: WebServer, other: WebServer) -> None:
    hosts = mirrored(own.host, other.host)
    other.pages["/v2/app/manifests/1"] = wants_token(f"{other.address}/t")
    other.pages["/t"] = Page(b'{"token": "of the mirror"}')

    with pytest.raises(NotFound):
        client_of(stack, own, hosts).get_manifest(reference(own), "1")

    assert not knows(other)
    assert not any(asked.authorization for asked in own.asked)


@pytest.mark.parametrize("status", REDIRECTS)
def test_a_token_server_that_leads_away(
    stack: ExitStack, own: WebServer, other: WebServer, status: int
) -> None:
    own.pages["/v2/app/manifests/1"] = wants_token(f"{own.address}/t")
    own.pages["/t"] = redirect(f"{other.address}/t", status)
    other.pages["/t"] = Page(b'{"token": "x"}')

    with pytest.raises(RemoteError, match="isn't given the password of"):
        client_of(stack, own).get_manifest(reference(own), "1")

    assert other.asked == []


def test_a_token_server_that_refuses_the_form_and_leads_away(
    stack: ExitStack, own: WebServer, other: WebServer
) -> None:
    own.pages["/v2/app/manifests/1"] = wants_token(f"{own.address}/t")
    own.pages |= {"POST /t": Page(status=405), "GET /t": redirect(f"{other.address}/t")}

    with pytest.raises(RemoteError, match="isn't given the password of"):
        client_of(stack, own).get_manifest(reference(own), "1")

    assert (knows(own), other.asked) == (True, [])


def test_a_token_server_may_lead_about_its_own_origin(stack: ExitStack, own: WebServer) -> None:
    own.pages["/v2/app/manifests/1"] = wants_token(f"{own.address}/t")
    own.pages["/t"] = redirect("/u")
    own.pages["/u"] = Page(json.dumps({"token": TOKEN}).encode())

    with pytest.raises(RegistryError, match="says 401"):
        client_of(stack, own).get_manifest(reference(own), "1")

    assert own.asked[-1].authorization == f"Bearer {TOKEN}"


def test_who_has_no_password_may_be_led_to_a_token(
    stack: ExitStack, own: WebServer, other: WebServer
) -> None:
    own.pages["/v2/app/manifests/1"] = wants_token(f"{own.address}/t")
    own.pages["/t"] = redirect(f"{other.address}/t")
    other.pages["/t"] = Page(b'{"token": "for all"}')

    with pytest.raises(RegistryError, match="says 401"):
        client_of(stack, other).get_manifest(reference(own), "1")

    assert own.asked[-1].authorization == "Bearer for all"


@pytest.mark.parametrize("realm", ["http://127.0.0.1:9/t", "http://tokens.invalid/t", "ftp://a/t"])
def test_a_realm_without_tls(
    stack: ExitStack, secure: WebServer, certificates: Path, realm: str
) -> None:
    secure.pages["/v2/app/manifests/1"] = wants_token(realm)
    client = client_of(stack, secure, trusting(secure, certificates))

    with pytest.raises(RemoteError, match=r"asks for passwords to be sent in clear|is no address"):
        client.get_manifest(reference(secure), "1")


def test_a_realm_without_tls_where_the_user_trusts_the_network(
    stack: ExitStack, secure: WebServer, own: WebServer
) -> None:
    secure.pages["/v2/app/manifests/1"] = wants_token(f"{own.address}/t")
    own.pages["/t"] = Page(json.dumps({"token": TOKEN}).encode())
    hosts = spoken_to(**{secure.host: Manner(http=False, insecure=True)})

    with pytest.raises(RegistryError, match="says 401"):
        client_of(stack, secure, hosts).get_manifest(reference(secure), "1")

    assert secure.asked[-1].authorization == f"Bearer {TOKEN}"


def test_from_tls_to_none(
    stack: ExitStack, secure: WebServer, own: WebServer, certificates: Path
) -> None:
    secure.pages["/v2/app/manifests/1"] = wants_basic()
    client = client_of(stack, secure, trusting(secure, certificates))
    with pytest.raises(RegistryError, match="says 401"):
        client.get_manifest(reference(secure), "1")
    secure.pages["/v2/app/manifests/1"] = redirect(f"{own.address}/plain")
    own.pages["/plain"] = Page(b"{}")

    client.get_manifest(reference(secure), "1")

    assert secure.asked[-1].authorization == BASIC
    assert [asked.authorization for asked in own.asked] == [""]


def test_a_client_certificate_stays_with_its_registry(
    stack: ExitStack, secure: WebServer, certificates: Path
) -> None:
    other = stack.enter_context(web_server(server_side(certificates)))
    authorities = (certificates / "ca.crt",)
    pair = ((certificates / "server.crt", certificates / "server.key"),)
    settings = {
        secure.host: Manner(authorities=authorities, keypairs=pair),
        other.host: Manner(authorities=authorities),
    }
    secure.pages[f"/v2/app/blobs/{DIGEST}"] = redirect(f"{other.address}/blob")
    other.pages["/blob"] = Page(BLOB)
    client = client_of(stack, secure, spoken_to(**settings))

    assert b"".join(client.read_blob(f"{secure.host}/app", LAYER)) == BLOB

    assert [asked.showed_certificate for asked in secure.asked] == [True]
    assert [asked.showed_certificate for asked in other.asked] == [False]


def test_a_foreign_layer_is_not_fetched_from_its_address(
    stack: ExitStack, own: WebServer, other: WebServer
) -> None:
    layer = Descriptor.from_json({**LAYER.to_json(), "urls": [f"{other.address}/layer"]})
    other.pages["/layer"] = wants_basic()

    with pytest.raises(NotFound):
        list(client_of(stack, own).read_blob(f"{own.host}/app", layer))

    assert other.asked == []


def test_errors_show_no_secret(stack: ExitStack, own: WebServer, other: WebServer) -> None:
    own.pages[f"/v2/app/blobs/{DIGEST}"] = redirect(f"{other.address}/b?X-Amz-Signature={TOKEN}")
    own.pages["/v2/app/manifests/1"] = wants_token(f"{own.address}/t")
    own.pages["/t"] = Page(PASSWORD.encode())
    client = client_of(stack, own)

    with pytest.raises(PolyarchError) as one:
        list(client.read_blob(f"{own.host}/app", LAYER))
    with pytest.raises(PolyarchError) as two:
        client.get_manifest(reference(own), "1")

    text = "".join(line for each in (one, two) for line in traceback.format_exception(each.value))
    assert not any(secret in text for secret in (PASSWORD, TOKEN, BASIC[6:]))
