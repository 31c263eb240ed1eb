"""`type=s3`: a cache in Amazon S3, or in whatever speaks its protocol, by Amazon's own library.

Which is an extra, and slow to load: `places` does that for those who ask for it.

Source of names and defaults: BuildKit, cache/remotecache/s3. Credentials that aren't given are looked for as the library
does: variables, files of the user, the machine's role.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from polyarch.caches.objects import ChunkFile, ObjectPlace, failed, missing
from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool, parse_int
from polyarch.golang.time import parse_duration

__all__ = ["open_s3"]

_CHUNK = 1 << 20
_CONNECT_TIME, _READ_TIME = 10, 30
"""Seconds for each attempt: the library's own would have a build wait for minutes where nobody answers."""
_SECOND = 1_000_000_000
_DAY = 24 * 3600.0
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_MODES = frozenset({"standard", "adaptive"})


def open_s3(attributes: Mapping[str, str]) -> ObjectPlace:
    """Return the cache that the attributes of `type=s3` name. Raises InputError."""
    prefix = attributes.get("prefix", "")
    blobs = attributes.get("blobs_prefix", "blobs/")
    manifests = attributes.get("manifests_prefix", "manifests/")
    return ObjectPlace(
        store=_S3(_client(attributes), attributes),
        blob_key=lambda digest: f"{prefix}{blobs}{digest}",
        name_key=lambda name: f"{prefix}{manifests}{name}",
        names=attributes.get("name", "buildkit").split(";"),
    )


def _client(attributes: Mapping[str, str]) -> BaseClient:
    options: dict[str, object] = {}
    endpoint = attributes.get("endpoint_url")
    if endpoint and find_bool(attributes.get("use_path_style", "")) is True:
        options["s3"] = {"addressing_style": "path"}
    retries = _retries(attributes)
    if retries:
        options["retries"] = retries
    key, secret = attributes.get("access_key_id"), attributes.get("secret_access_key")
    given = {}
    if key and secret:
        given = {"aws_access_key_id": key, "aws_secret_access_key": secret}
        if token := attributes.get("session_token"):
            given["aws_session_token"] = token
    # Others than Amazon's servers don't know its newer checksums.
    config = Config(
        request_checksum_calculation="when_required",
        connect_timeout=_CONNECT_TIME,
        read_timeout=_READ_TIME,
        **options,
    )
    session = boto3.session.Session()
    return session.client(
        "s3",
        region_name=attributes.get("region"),
        endpoint_url=endpoint or None,
        config=config,
        **given,
    )


def _retries(attributes: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    if mode := attributes.get("retry_mode"):
        if mode not in _MODES:
            raise InputError('retry_mode must be "standard" or "adaptive"')
        found["mode"] = mode
    if attributes.get("retry_max_attempts"):
        found["total_max_attempts"] = _positive(attributes, "retry_max_attempts")
    return found


def _positive(attributes: Mapping[str, str], key: str) -> int:
    try:
        number = parse_int(attributes[key])
    except InputError:
        number = 0
    if number < 1:
        raise InputError(f"{key} must be a positive integer")
    return number


def _touch_refresh(attributes: Mapping[str, str]) -> float:
    try:
        return parse_duration(attributes["touch_refresh"]) / _SECOND
    except (KeyError, InputError):
        return _DAY


class _S3:
    """A bucket."""

    def __init__(self, client: BaseClient, attributes: Mapping[str, str]) -> None:
        self.address = f"s3://{attributes['bucket']}"
        self._client = client
        self._bucket = attributes["bucket"]
        self._fresh = _touch_refresh(attributes)
        self._errors = (ClientError, BotoCoreError)
        at_once = _positive({"upload_parallelism": "4", **attributes}, "upload_parallelism")
        self._transfer = TransferConfig(max_concurrency=at_once)

    def has(self, key: str) -> bool:
        """See ObjectStore."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=key)
            if time.time() - found["LastModified"].timestamp() > self._fresh:
                self._touch(key)
        except self._errors as error:
            if _code(error) in _MISSING:
                return False
            raise failed(self.address, error, status=_status(error)) from error
        return True

    def _touch(self, key: str) -> None:
        """Copy an object onto itself: rules that remove old ones go by the last change."""
        self._client.copy(
            {"Bucket": self._bucket, "Key": key},
            self._bucket,
            key,
            ExtraArgs={"MetadataDirective": "REPLACE"},
            Config=self._transfer,
        )

    def read(self, key: str) -> Generator[bytes, None, None]:
        """See ObjectStore."""
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
            try:
                yield from body.iter_chunks(_CHUNK)
            finally:
                body.close()
        except self._errors as error:
            if _code(error) in _MISSING:
                raise missing(self.address, key) from error
            raise failed(self.address, error, status=_status(error)) from error

    def write(self, key: str, size: int, chunks: Iterator[bytes]) -> None:
        """See ObjectStore."""
        del size
        try:
            self._client.upload_fileobj(ChunkFile(chunks), self._bucket, key, Config=self._transfer)
        except self._errors as error:
            raise failed(self.address, error, status=_status(error)) from error


def _code(error: Exception) -> str:
    return str(_told(error).get("Error", {}).get("Code", ""))


def _status(error: Exception) -> int:
    return int(_told(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _told(error: Exception) -> Mapping[str, Any]:
    """Return what the server said; where nobody answered, the library has None for it, or nothing."""
    return getattr(error, "response", None) or {}
