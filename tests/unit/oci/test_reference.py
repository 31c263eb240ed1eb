"""Names of images: what is written is read back, short forms stand for long ones."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import sha256
from polyarch.errors import InvalidReference
from polyarch.oci.reference import Reference, parse

DOMAINS = st.sampled_from(
    [
        *("docker.io", "index.docker.io", "localhost", "localhost:5000", "example.org"),
        *("example.org:443", "UPPER", "[::1]:5000", "127.0.0.1:5000", "a-b.c"),
    ]
)
COMPONENTS = st.from_regex(r"[a-z0-9]{1,3}([._]|__|-{1,2})?[a-z0-9]{1,2}", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,6}", fullmatch=True)
DIGESTS = st.binary(max_size=3).map(sha256)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Names as people write them."""
    parts = draw(st.lists(COMPONENTS, min_size=1, max_size=3))
    if draw(st.booleans()):
        parts.insert(0, draw(DOMAINS))
    tag = draw(st.just("") | TAGS.map(lambda text: f":{text}"))
    digest = draw(st.just("") | DIGESTS.map(lambda text: f"@{text}"))
    return "/".join(parts) + tag + digest


@given(text=texts())
def test_all_forms_are_read_back(text: str) -> None:
    reference = parse(text)

    assert parse(str(reference)) == reference
    # As in Docker: a directory of its Hub that looks like a registry is taken for one in the short form.
    if not (reference.domain == "docker.io" and "." in reference.path.partition("/")[0]):
        assert parse(reference.familiar) == reference


@given(text=texts())
def test_the_canonical_form_names_what_is_asked_for(text: str) -> None:
    reference = parse(text)
    canonical = parse(reference.canonical)

    assert canonical.canonical == reference.canonical
    assert canonical.target == reference.target
    assert canonical.tag or canonical.digest
    assert canonical.repository == reference.repository


@given(text=texts())
def test_the_familiar_form_is_the_shortest(text: str) -> None:
    reference = parse(text)

    assert len(reference.familiar) <= min(len(str(reference)), len(text))


@given(text=st.text("abcAB/:@.-_0[]", max_size=16) | st.text(max_size=8))
def test_whatever_is_written_is_a_name_or_refused(text: str) -> None:
    with suppress(InvalidReference):
        reference = parse(text)

        assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("user/app:1", "docker.io/user/app:1", "user/app:1"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app", "localhost:5000/app", "localhost:5000/app"),
        ("Upper/app", "Upper/app", "Upper/app"),
        ("docker.io/a.b/c", "docker.io/a.b/c", "a.b/c"),
        ("busybox:5000", "docker.io/library/busybox:5000", "busybox:5000"),
    ],
)
def test_short_and_long_forms(text: str, full: str, familiar: str) -> None:
    reference = parse(text)

    assert (str(reference), reference.familiar) == (full, familiar)


def test_a_digest_decides() -> None:
    digest = sha256(b"manifest")
    both = parse(f"app:1@{digest}")

    assert both == Reference(domain="docker.io", path="library/app", tag="1", digest=digest)
    assert (both.target, parse("app:1").target, parse("app").target) == (digest, "1", "latest")
    assert parse("app").canonical == "docker.io/library/app:latest"
    assert parse(f"app@{digest}").canonical == f"docker.io/library/app@{digest}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("App", "invalid reference format: repository name (library/App) must be lowercase"),
        ("x.y/App:1", "invalid reference format: repository name (App) must be lowercase"),
        (
            "a" * 64,
            f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
        ),
        ("x.y/" + "a" * 256, "repository name must not be more than 255 characters"),
        ("a@sha256:" + "a" * 63, "invalid checksum digest length"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("a@md5:" + "a" * 32, "unsupported digest algorithm"),
    ],
)
def test_what_is_no_name(text: str, message: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse(text)

    assert str(caught.value) == message


def test_the_longest_path_is_a_name() -> None:
    assert parse("x.y/" + "a" * 255).path == "a" * 255
