"""JSON, base64, hexadecimal digits and queries of addresses."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from urllib.parse import parse_qsl, quote_plus, unquote_plus

from polyarch.golang.json import compact, indented, read_json
from polyarch.rego.builtins.given import Table, a_text, an_object, texts
from polyarch.rego.undefined import Unfit
from polyarch.rego.values import Obj, from_plain, plain

__all__ = ["ENCODING"]


def _marshal(value: object) -> object:
    return compact(plain(value), sort_keys=True).decode()


def _marshal_with(value: object, options: object) -> object:
    given = an_object(options)
    prefix, indent = a_text(given.get("prefix", "")), a_text(given.get("indent", "\t"))
    is_pretty = given.get("pretty", given.has("prefix") or given.has("indent"))
    if is_pretty is not True:
        return _marshal(value)
    sorted_value = json.loads(json.dumps(plain(value), sort_keys=True))
    lines = indented(sorted_value, by=indent).decode().split("\n")
    return prefix + ("\n" + prefix).join(lines)


def _read(data: object) -> object:
    try:
        return from_plain(read_json(a_text(data)))
    except ValueError:
        raise Unfit from None


def _holds(read: Callable[[object], object]) -> Callable[[object], object]:
    def result(value: object) -> object:
        try:
            read(value)
        except Unfit:
            return False
        return True

    return result


def _decoded(text: object, alphabet: bytes | None) -> object:
    data = a_text(text)
    if alphabet is not None:
        data += "=" * (-len(data) % 4)
    try:
        return base64.b64decode(data, altchars=alphabet, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        raise Unfit from None


def _from_base64(text: object) -> object:
    return _decoded(text, None)


def _from_hex(text: object) -> object:
    try:
        return bytes.fromhex(a_text(text)).decode("utf-8", "replace")
    except ValueError:
        raise Unfit from None


def _query(pairs: object) -> object:
    out = []
    for name, value in an_object(pairs).items():
        values = [value] if isinstance(value, str) else texts(value)
        out += [f"{quote_plus(a_text(name))}={quote_plus(each)}" for each in values]
    return "&".join(out)


def _from_query(text: object) -> object:
    found: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(a_text(text), keep_blank_values=True, max_num_fields=10_000):
            found.setdefault(name, []).append(value)
    except ValueError:
        raise Unfit from None
    return Obj((name, tuple(values)) for name, values in found.items())


def _urlsafe(text: object) -> str:
    return base64.urlsafe_b64encode(a_text(text).encode()).decode()


ENCODING: Table = {
    "json.marshal": (1, _marshal),
    "json.marshal_with_options": (2, _marshal_with),
    "json.unmarshal": (1, _read),
    "json.is_valid": (1, _holds(_read)),
    "base64.encode": (1, lambda text: base64.b64encode(a_text(text).encode()).decode()),
    "base64.decode": (1, _from_base64),
    "base64.is_valid": (1, _holds(_from_base64)),
    "base64url.encode": (1, _urlsafe),
    "base64url.encode_no_pad": (1, lambda text: _urlsafe(text).rstrip("=")),
    "base64url.decode": (1, lambda text: _decoded(text, b"-_")),
    "hex.encode": (1, lambda text: a_text(text).encode().hex()),
    "hex.decode": (1, _from_hex),
    "urlquery.encode": (1, lambda text: quote_plus(a_text(text))),
    "urlquery.decode": (1, lambda text: unquote_plus(a_text(text))),
    "urlquery.encode_object": (1, _query),
    "urlquery.decode_object": (1, _from_query),
}
