from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from polyarch.cli.building.values import (
    Allowed,
    Call,
    SecretSpec,
    SshSpec,
    add_host_flag,
    allow_flag,
    annotation_flag,
    attest_flag,
    attest_shorthand,
    budget_flag,
    build_context_flag,
    cache_flag,
    call_flag,
    output_flag,
    secret_flag,
    ssh_flag,
)
from polyarch.errors import InputError, InvalidReference
from polyarch.platforms import parse
from polyarch.request.annotation import Annotation
from polyarch.request.attestation import Attestation
from polyarch.request.values import CacheEntry, Output

ARM64 = parse("linux/arm64")


def familiar(text: str) -> str:
    if not text:
        raise InvalidReference("invalid reference format")
    return text.removeprefix("docker.io/library/")


def contexts(values: Iterable[str]) -> dict[str, str]:
    return build_context_flag(values, familiar=familiar)


def test_output() -> None:
    assert output_flag(["", "out", "-", 'type=image,"Name=a,b", push=true', "type=oci,dest=x"]) == (
        Output(type="local", destination="out"),
        Output(type="tar", destination="-"),
        Output(type="image", attributes={"name": "a,b", "push": "true"}),
        Output(type="oci", destination="x"),
    )


def test_cache() -> None:
    assert cache_flag(["a,b", "type=local,SRC=d", ""]) == (
        CacheEntry(type="registry", attributes={"ref": "a"}),
        CacheEntry(type="registry", attributes={"ref": "b"}),
        CacheEntry(type="local", attributes={"src": "d"}),
    )


def test_secret() -> None:
    assert secret_flag(["id=a,src=f", "ID=b,type=env,source=E", "id=c,env=E", ""]) == (
        SecretSpec(id="a", file="f"),
        SecretSpec(id="b", env="E"),
        SecretSpec(id="c", env="E"),
    )


def test_ssh() -> None:
    assert ssh_flag(["default", 'a=b,"c"', ""]) == (
        SshSpec(id="default"),
        SshSpec(id="a", paths=("b", '"c"')),
    )


def test_attest() -> None:
    assert attest_flag(["Type=sbom,disabled=T", "type=provenance,Mode=max"]) == (
        Attestation(type="sbom", disabled=True),
        Attestation(type="provenance", attributes={"Mode": "max"}),
    )


def test_attest_shorthand() -> None:
    texts = [attest_shorthand("sbom", text) for text in ("", "true", "0", "mode=max")]

    assert texts == [
        "",
        "type=sbom,disabled=false",
        "type=sbom,disabled=true",
        "type=sbom,mode=max",
    ]


def test_annotation_later_values_win() -> None:
    assert annotation_flag(["a=1", "index,manifest[linux/arm64]:b=2", "a=3", ""]) == (
        Annotation(key="a", value="3"),
        Annotation(level="index", key="b", value="2"),
        Annotation(level="manifest", platform=ARM64, key="b", value="2"),
    )


def test_annotations_with_a_platform_never_replace_one_another() -> None:
    place = Annotation(level="index", platform=ARM64, key="a", value="1")

    assert annotation_flag(["index[linux/arm64],index[linux/arm64]:a=1"]) == (place, place)


def test_build_context() -> None:
    assert contexts(["docker.io/library/alpine:latest=x", "a=b=c"]) == {"alpine": "x", "a": "b=c"}


def test_allow() -> None:
    values = ["network.host", "", "device=a,alias=b", "device", "buildx.local.delete"]

    assert allow_flag(values) == Allowed(
        entitlements=("network.host", "device=a,alias=b", "device"), local_delete=True
    )


def test_add_host() -> None:
    assert add_host_flag(["a:1.2.3.4,[::1]", "b=::1", "c=host-gateway"]) == (
        "a=1.2.3.4",
        "a=::1",
        "b=::1",
        "c=host-gateway",
    )


def test_call() -> None:
    assert [call_flag(text) for text in ("", "build", "check", "outline,format=json")] == [
        None,
        None,
        Call(name="lint"),
        Call(name="outline", format="json"),
    ]
    assert call_flag("check,ignorestatus=1") == Call(name="lint", ignore_status=True)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        (output_flag, "type=", "type is required for output"),
        (output_flag, "a,b", "invalid value a"),
        (cache_flag, "a=b", 'type required for "a=b"'),
        (cache_flag, "a,", "EOF"),
        (secret_flag, "id", "invalid field 'id' must be a key=value pair"),
        (secret_flag, "id=a,type=x", 'unsupported secret type "x"'),
        (secret_flag, "x=y", "unexpected key 'x' in 'x=y'"),
        (
            secret_flag,
            '"',
            (
                "failed to parse csv secret: "
                'parse error on line 1, column 2: extraneous or missing " in quoted-field'
            ),
        ),
        (attest_flag, "", "EOF"),
        (attest_flag, "mode=max", "attestation type not specified"),
        (
            attest_flag,
            "type=a,disabled=x",
            'invalid value disabled=x: strconv.ParseBool: parsing "x": invalid syntax',
        ),
        (annotation_flag, "a", 'invalid annotation "a", expected key=value'),
        (annotation_flag, "x:a=b", 'unknown annotation type "x"'),
        (
            annotation_flag,
            "X:a=b",
            'invalid annotation type "X", expected type and optional platform in square brackets',
        ),
        (
            annotation_flag,
            "index[foo]:a=b",
            (
                'invalid platform "foo": "foo": unknown operating system or architecture:'
                " invalid argument"
            ),
        ),
        (contexts, "a", "invalid context value: a, expected key=value"),
        (contexts, "=b", "invalid context name : invalid reference format"),
        (allow_flag, "x", "unknown entitlement x"),
        (allow_flag, "buildx.local.delete=", "buildx.local.delete does not accept a value"),
        (allow_flag, "device=a,b", 'invalid device config "b"'),
        (allow_flag, "device=a,b=c", 'unknown device config key "b"'),
        (add_host_flag, "a", "invalid host a"),
        (add_host_flag, "a=1.2.3", "invalid host a=1.2.3"),
        (add_host_flag, "a=1.2.3.4\0", "invalid host a=1.2.3.4\0"),
    ],
)
def test_refused(flag: Callable[[list[str]], object], value: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        flag([value])

    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b", "invalid print value: a,b"),
        ("a,x=1", "invalid print field: x=1"),
        (
            "a,ignorestatus=x",
            'invalid ignorestatus print value: x: strconv.ParseBool: parsing "x": invalid syntax',
        ),
    ],
)
def test_call_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        call_flag(text)

    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "seconds"), [("", None), ("0", 0.0), ("1.5", 1.5), ("90s", 90.0), ("1m30s", 90.0)]
)
def test_a_budget_for_caches(text: str, seconds: float | None) -> None:
    assert budget_flag(text) == seconds


@pytest.mark.parametrize("text", ["-1", "soon", "inf", "-1s", "nan"])
def test_a_budget_that_can_not_be(text: str) -> None:
    with pytest.raises(InputError, match=f"--cache-budget={text} is no number of seconds"):
        budget_flag(text)
