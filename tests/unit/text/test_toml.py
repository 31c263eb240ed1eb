"""TOML in the form of go-toml, which wrote what is expected here."""

from __future__ import annotations

import tomllib

import pytest

from polyarch.errors import InputError
from polyarch.text.toml import normalized

TYPED = '''\
# a comment
debug = true
root   = "/x"
insecure-entitlements = [ "network.host",
  "security.insecure" ]
[registry."docker.io"]
  mirrors = ["mirror.gcr.io"]   # c
  http = true
[worker.oci]
max-parallelism = 4
enabled=true
labels = { "a" = "b" }
  [[worker.oci.gcpolicy]]
    keepBytes = 10_000
    filters = [ "type==source.local"]
    all = false
[grpc]
 address = [ "tcp://0.0.0.0:8080" ]
 'debugAddress' = "x"
[history]
 maxAge = 172800
 f = 1.5
 d = 1979-05-27T07:32:00Z
 s = """
multi
line"""
 e = "tab\\there é \\u00e9 \\"q\\" <&>"
'''
WRITTEN = """\
debug = true
insecure-entitlements = ['network.host', 'security.insecure']
root = '/x'

[grpc]
address = ['tcp://0.0.0.0:8080']
debugAddress = 'x'

[history]
d = 1979-05-27T07:32:00Z
e = 'tab\there é é "q" <&>'
f = 1.5
maxAge = 172800
s = "multi\\nline"

[registry]
[registry.'docker.io']
http = true
mirrors = ['mirror.gcr.io']

[worker]
[worker.oci]
enabled = true
max-parallelism = 4

[[worker.oci.gcpolicy]]
all = false
filters = ['type==source.local']
keepBytes = 10000

[worker.oci.labels]
a = 'b'
"""


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        (TYPED, WRITTEN),
        ("", ""),
        ('"weird key" = 1', "'weird key' = 1\n"),
        ('"x\'y" = ["a\'b"]', '"x\'y" = ["a\'b"]\n'),
        ("f = 1e100\ng = 1e-7", f"f = {1e100:.1f}\ng = 0.0000001\n"),
        ("a = inf\nb = nan\nc = 100.0\nd = 0x10", "a = inf\nb = nan\nc = 100.0\nd = 16\n"),
        ('a = "\\u0001\\u007f\\\\"', 'a = "\\u0001\\u007F\\\\"\n'),
        ("a = [1, {b = 1}]\nc = []\nd = {}", "a = [1, {b = 1}]\nc = []\n\n[d]\n"),
        ("a = [{b=1},{c={d=1}}]", "[[a]]\nb = 1\n\n[[a]]\n[a.c]\nd = 1\n"),
        ("d = 1979-05-27T07:32:00.500+00:00", "d = 1979-05-27T07:32:00.5Z\n"),
    ],
)
def test_there_is_one_form(typed: str, written: str) -> None:
    assert normalized(typed) == written
    assert normalized(written) == written
    assert repr(sorted(tomllib.loads(written))) == repr(sorted(tomllib.loads(typed)))


def test_what_is_no_toml_is_refused() -> None:
    with pytest.raises(InputError, match=r"^no TOML: Expected '=' after a key"):
        normalized("a b")
    with pytest.raises(InputError, match=r"^no TOML: "):
        normalized("a = " + "[" * 5000)
