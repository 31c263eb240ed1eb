"""`type=azblob`: a cache in Azure's Blob Storage, by Microsoft's own library.

Which is an extra, and slow to load: `places` does that for those who ask for it.

Source of names and defaults: BuildKit, cache/remotecache/azblob. Without a key the library's usual chain of credentials
is asked, which needs `azure-identity`.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Generator, Iterator, Mapping
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient, LinearRetry

from polyarch.caches.objects import ChunkFile, ObjectPlace, failed, missing
from polyarch.errors import InputError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

__all__ = ["open_azblob"]

_AT_ONCE = 4
_BLOCK = 32 << 20
_CONNECT_TIME, _READ_TIME = 10, 30
"""Seconds for each attempt: the library's own would have a build wait for minutes where nobody answers."""
_HINT = "install it: pip install 'polyarch[azblob]'"


def open_azblob(attributes: Mapping[str, str]) -> ObjectPlace:
    """Return the cache that the attributes of `type=azblob` name. Raises InputError."""
    prefix = attributes.get("prefix", "")
    blobs = attributes.get("blobs_prefix", "blobs")
    manifests = attributes.get("manifests_prefix", "manifests")

    def joined(*parts: str) -> str:
        return posixpath.normpath("/".join(filter(None, parts)))

    return ObjectPlace(
        store=_Container(_client(attributes)),
        blob_key=lambda digest: joined(prefix, blobs, digest),
        name_key=lambda name: joined(prefix, manifests, name),
        names=attributes.get("name", "buildkit").split(";"),
    )


def _client(attributes: Mapping[str, str]) -> ContainerClient:
    address = attributes["account_url"]
    host = urlsplit(address).hostname or ""
    name = attributes.get("account_name") or host.partition(".")[0]
    if not name:
        raise InputError(
            "unable to retrieve account name from account url or ${BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME} "
            "or account_name attribute for azblob cache"
        )
    return ContainerClient(
        address,
        attributes.get("container", "buildkit-cache"),
        credential=_credential(name, attributes.get("secret_access_key", "")),
        # A cache isn't worth the minutes that the library would wait by itself.
        retry_policy=LinearRetry(backoff=1, retry_total=2, random_jitter_range=0),
        connection_timeout=_CONNECT_TIME,
        read_timeout=_READ_TIME,
        max_block_size=_BLOCK,
        max_single_put_size=_BLOCK,
    )


def _credential(name: str, key: str) -> dict[str, str] | TokenCredential:
    if key:
        return {"account_name": name, "account_key": key}
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 for those who have no key
    except ImportError as error:
        raise InputError(
            "caches of type=azblob without secret_access_key need azure-identity", hint=_HINT
        ) from error
    credential: TokenCredential = DefaultAzureCredential()
    return credential


class _Container:
    """A container, which is made when something is first asked of it."""

    def __init__(self, client: ContainerClient) -> None:
        self.address = f"azblob://{client.account_name}/{client.container_name}"
        self._client = client
        self._lock = threading.Lock()
        self._is_made = False

    def _made(self) -> ContainerClient:
        with self._lock:
            if not self._is_made:
                try:
                    if not self._client.exists():
                        self._client.create_container()
                except ResourceExistsError:
                    pass  # somebody else was faster
                except AzureError as error:
                    raise self._failed(error) from error
                self._is_made = True
        return self._client

    def _failed(self, error: Exception) -> Exception:
        return failed(self.address, error, status=getattr(error, "status_code", 0) or 0)

    def has(self, key: str) -> bool:
        """See ObjectStore."""
        try:
            return bool(self._made().get_blob_client(key).exists())
        except AzureError as error:
            raise self._failed(error) from error

    def read(self, key: str) -> Generator[bytes, None, None]:
        """See ObjectStore."""
        try:
            yield from self._made().download_blob(key).chunks()
        except ResourceNotFoundError as error:
            raise missing(self.address, key) from error
        except AzureError as error:
            raise self._failed(error) from error

    def write(self, key: str, size: int, chunks: Iterator[bytes]) -> None:
        """See ObjectStore."""
        try:
            # Of a file it only reads, which is all that this one can do.
            file = cast("IO[bytes]", ChunkFile(chunks))
            self._made().upload_blob(
                key, file, length=size, overwrite=True, max_concurrency=_AT_ONCE
            )
        except AzureError as error:
            raise self._failed(error) from error
