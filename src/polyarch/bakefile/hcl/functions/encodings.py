"""Functions of encodings, digests and identifiers. Source: behaviour of hashicorp/go-cty-funcs and go-cty."""

from __future__ import annotations

import binascii
import ctypes
import hashlib
import os
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

from polyarch.bakefile.hcl.functions.csvs import csv_decode
from polyarch.bakefile.hcl.functions.ints import as_int
from polyarch.bakefile.hcl.functions.rsa import decrypt
from polyarch.bakefile.hcl.functions.spec import Function, FunctionError, Parameter, function
from polyarch.bakefile.hcl.jsonvalues import from_json
from polyarch.bakefile.hcl.types import BYTES, DYNAMIC, NUMBER, STRING
from polyarch.bakefile.hcl.values import Value, integer, json_text, string

__all__ = ["ENCODINGS"]

_NAMESPACES = {
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}
_COSTS = range(4, 32)
_DEFAULT_COST = 10
_SALT = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode64(value: Value) -> Value:
    try:
        data = b64decode(_bytes(value.raw.replace("\n", "").replace("\r", "")), validate=True)
    except (binascii.Error, ValueError):
        raise FunctionError(f"failed to decode base64 data '{value.raw}'") from None
    try:
        return string(data.decode())
    except UnicodeDecodeError:
        raise FunctionError(
            "the result of decoding the the provided string is not valid UTF-8"
        ) from None


def _encode64(value: Value) -> Value:
    return string(b64encode(_bytes(value.raw)).decode())


def _digest(name: str) -> Function:
    def run(value: Value) -> Value:
        return string(hashlib.new(name, _bytes(value.raw), usedforsecurity=False).hexdigest())

    return function(run, Parameter("str", STRING))


def _json_encode(value: Value) -> Value:
    try:
        return string(json_text(value))
    except ValueError as error:
        raise FunctionError(str(error)) from None


def _json_decode(value: Value) -> Value:
    try:
        return from_json(value.raw, DYNAMIC, implied=True)
    except ValueError as error:
        raise FunctionError(str(error)) from None


def _csv_decode(value: Value) -> Value:
    try:
        return csv_decode(value.raw)
    except ValueError as error:
        raise FunctionError(str(error)) from None


def _uuid4() -> Value:
    return string(str(uuid.uuid4()))


def _uuid5(namespace: Value, name: Value) -> Value:
    space = _NAMESPACES.get(namespace.raw)
    if space is None:
        try:
            space = uuid.UUID(namespace.raw)
        except ValueError:
            length = len(namespace.raw)
            why = (
                "invalid UUID format"
                if length in {32, 36, 38, 45}
                else f"invalid UUID length: {length}"
            )
            message = f"uuidv5() doesn't support namespace {namespace.raw} ({why})"
            raise FunctionError(message) from None
    return string(str(uuid.uuid5(space, name.raw)))


def _bcrypt(value: Value, *costs: Value) -> Value:
    cost = as_int(costs[0]) if costs else _DEFAULT_COST
    if len(costs) > 1:
        raise FunctionError("bcrypt() takes no more than two arguments")
    if cost < _COSTS.start:
        cost = _DEFAULT_COST
    if cost not in _COSTS:
        raise FunctionError(
            f"error occured generating password crypto/bcrypt: cost {cost} is outside allowed inclusive range 4..31"
        )
    salt = "".join(_SALT[byte % len(_SALT)] for byte in os.urandom(21)) + "O"
    try:
        crypt = ctypes.CDLL("libcrypt.so.1").crypt
    except (OSError, AttributeError):
        raise FunctionError("this machine has no libcrypt.so.1, which bcrypt() needs") from None
    crypt.restype = ctypes.c_char_p
    made: bytes | None = crypt(_bytes(value.raw), f"$2a${cost:02d}${salt}".encode())
    if not made or not made.startswith(b"$2a$"):
        raise FunctionError("libcrypt of this machine has no bcrypt")
    return string(made.decode())


def _rsa(cipher: Value, key: Value) -> Value:
    try:
        return string(decrypt(cipher.raw, key.raw))
    except ValueError as error:
        raise FunctionError(str(error)) from None


def _homedir() -> Value:
    return string(os.path.expanduser("~"))


def _url_encode(value: Value) -> Value:
    return string(quote_plus(value.raw, safe="", errors="surrogateescape"))


def _bytes_length(buffer: Value) -> Value:
    return integer(len(buffer.raw))


def _bytes_slice(buffer: Value, offset: Value, length: Value) -> Value:
    start, count = as_int(offset), as_int(length)
    if start < 0 or count < 0:
        raise FunctionError("offset and length must be non-negative")
    if start + count > len(buffer.raw):
        raise FunctionError(
            f"offset {start} + length {count} is greater than total buffer length {len(buffer.raw)}"
        )
    return Value(BYTES, buffer.raw[start : start + count])


def _one(run: Callable[[Value], Value]) -> Function:
    return function(run, Parameter("str", STRING))


ENCODINGS: Mapping[str, Function] = {
    "base64decode": _one(_decode64),
    "base64encode": _one(_encode64),
    "bcrypt": function(_bcrypt, Parameter("str", STRING), rest=Parameter("cost", NUMBER)),
    "byteslen": function(_bytes_length, Parameter("buf", BYTES)),
    "bytesslice": function(_bytes_slice, Parameter("buf", BYTES), Parameter("offset", NUMBER), Parameter("length", NUMBER)),
    "csvdecode": _one(_csv_decode),
    "homedir": function(_homedir),
    "jsondecode": _one(_json_decode),
    "jsonencode": function(_json_encode, Parameter("val", nullable=True)),
    "md5": _digest("md5"),
    "rsadecrypt": function(_rsa, Parameter("ciphertext", STRING), Parameter("privatekey", STRING)),
    "sha1": _digest("sha1"),
    "sha256": _digest("sha256"),
    "sha512": _digest("sha512"),
    "urlencode": _one(_url_encode),
    "uuidv4": function(_uuid4),
    "uuidv5": function(_uuid5, Parameter("namespace", STRING), Parameter("name", STRING)),
}  # fmt: skip
