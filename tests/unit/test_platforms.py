"""Platforms: spellings, laws of parsing and printing, and what serves what."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch import platforms
from polyarch.errors import InvalidPlatform
from polyarch.platforms import (
    Platform,
    column,
    format_all,
    from_words,
    host,
    linux,
    normalize,
    only,
    parse,
    parse_list,
    rank,
    select,
)
from polyarch.record import replace
from tests.support.images.platforms import windows

SYSTEMS = ("linux", "windows", "darwin", "macos", "freebsd", "LINUX")
ARCHITECTURES = (
    *("amd64", "x86_64", "x86-64", "386", "i386", "arm64", "aarch64", "arm", "armhf", "armel"),
    *("ppc64le", "s390x", "riscv64", "mips64le", "loong64", "ARM64", "wasm"),
)
VARIANTS = (
    "",
    "v1",
    "v2",
    "v3",
    "v5",
    "v6",
    "v7",
    "7",
    "8",
    "v8",
    "v8.0",
    "v8.5",
    "v9",
    "9",
    "v9.2",
)
WORDS = st.text("abcXYZ019_.-", min_size=1, max_size=5)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """What people write: known words mostly."""
    parts = [
        draw(st.sampled_from(SYSTEMS) | st.text("abz09_-", min_size=1, max_size=4)),
        draw(st.sampled_from(ARCHITECTURES) | WORDS),
    ]
    variant = draw(st.sampled_from(VARIANTS) | WORDS)
    return "/".join([*parts, variant] if variant else parts)


@st.composite
def full_platforms(draw: st.DrawFn) -> Platform:
    option = st.text("a.1%+()/_-", max_size=6)
    return replace(
        parse(draw(texts())),
        os_version=draw(option),
        os_features=tuple(draw(st.lists(option.filter(bool), max_size=3))),
    )


KNOWN = st.builds(
    lambda system, architecture, variant: Platform(
        os=system, architecture=architecture, variant=variant
    ),
    st.sampled_from(SYSTEMS),
    st.sampled_from(ARCHITECTURES),
    st.sampled_from(VARIANTS),
)


# Texts


@given(text=texts())
def test_printing_and_parsing_keeps_what_was_parsed(text: str) -> None:
    platform = parse(text)

    assert parse(str(platform)) == platform


@given(platform=full_platforms())
def test_the_full_form_is_read_back(platform: Platform) -> None:
    features = tuple(sorted(set(platform.os_features)))

    assert parse(format_all(platform)) == replace(platform, os_features=features)


@given(text=st.text(max_size=12) | st.text("linuxarm64/v()+%.*,", max_size=12))
def test_parse_gives_a_whole_platform_or_our_error(text: str) -> None:
    with suppress(InvalidPlatform):
        platform = parse(text)

        assert platform.os
        assert platform.architecture


@given(platform=KNOWN)
def test_normalizing_twice_changes_nothing_more(platform: Platform) -> None:
    assert normalize(normalize(platform)) == normalize(platform)


@given(text=texts())
def test_normalized_platforms_survive_their_text(text: str) -> None:
    platform = normalize(parse(text))

    assert normalize(parse(str(platform))) == platform


@pytest.mark.parametrize(
    ("text", "shown", "normal"),
    [
        ("linux/arm64", "linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/9", "linux/arm64/v9", "linux/arm64/v9"),
        ("linux/aarch64", "linux/arm64", "linux/arm64"),
        ("linux/arm", "linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7", "linux/arm/v7"),
        ("linux/armhf", "linux/arm", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6", "linux/arm/v6"),
        ("Linux/X86_64", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386", "linux/386"),
        ("macos/arm64", "darwin/arm64", "darwin/arm64"),
    ],
)
def test_spellings(text: str, shown: str, normal: str) -> None:
    assert (str(parse(text)), str(normalize(parse(text)))) == (shown, normal)


def test_versions_and_features_are_read_apart() -> None:
    assert parse("windows(10.0.17763+win32k+a%2Bb)/amd64") == Platform(
        os="windows",
        architecture="amd64",
        os_version="10.0.17763",
        os_features=("win32k", "a+b"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linux/*", '"linux/*": wildcards not yet supported: invalid argument'),
        ("linux/a/b/c", '"linux/a/b/c": cannot parse platform specifier: invalid argument'),
        ("vax", '"vax": unknown operating system or architecture: invalid argument'),
        ("windows(%zz)/amd64", '"windows(%zz)/amd64" has an invalid OS version "%zz": '),
    ],
)
def test_what_is_no_platform_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidPlatform) as caught:
        parse(text)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "text", ["", "/", "linux/", "linux//v7", "linux\n", "linux/arm\n", "a b/c"]
)
def test_odd_characters_are_refused(text: str) -> None:
    with pytest.raises(InvalidPlatform, match="must match"):
        parse(text)


def test_a_lone_word_is_completed_from_this_machine() -> None:
    assert parse("s390x") == from_words(host().os, "s390x")
    assert parse("windows").architecture == host().architecture


def test_lists_are_normalized_and_lose_doubles() -> None:
    found = parse_list(["linux/arm64/v8,linux/arm", "linux/arm64", "linux/arm/v7,LOCAL"])

    assert found == (
        linux("arm64"),
        linux("arm", "v7"),
        host(),
    )


def test_a_platform_without_a_system_is_unknown() -> None:
    assert str(from_words("", "amd64")) == "unknown"
    assert format_all(replace(from_words("", ""), os_version="1")) == "unknown"


def test_the_column_of_builders_marks_chosen_ones() -> None:
    chosen = [parse("linux/arm64")]
    native = [parse(text) for text in ("linux/amd64", "linux/arm64/v8", "linux/arm")]

    assert column(chosen, native) == ("linux/arm64*", "linux/amd64", "linux/arm/v7")


# What serves what


@given(platform=KNOWN)
def test_a_machine_serves_its_own_platform_best(platform: Platform) -> None:
    assert only(platform)[0] == normalize(platform)
    assert rank(platform, platform) == (0, 0)


@given(platform=KNOWN)
def test_what_a_machine_runs_is_listed_once_and_in_order(platform: Platform) -> None:
    runs = only(platform)

    assert len(set(runs)) == len(runs)
    assert select(platform, reversed(runs)) == runs


@given(platform=KNOWN)
def test_who_runs_a_platform_runs_all_that_it_runs(platform: Platform) -> None:
    runs = only(platform)

    assert [each for each in runs if not set(only(each)) <= set(runs)] == []


@given(wanted=KNOWN, candidates=st.lists(KNOWN, max_size=6))
def test_select_keeps_the_best_first(wanted: Platform, candidates: list[Platform]) -> None:
    chosen = select(wanted, candidates)
    ranks = [rank(wanted, each) for each in chosen]

    assert sorted(chosen, key=str) == sorted(
        (each for each in candidates if rank(wanted, each) is not None), key=str
    )
    assert ranks == sorted(each for each in ranks if each is not None)


@given(wanted=KNOWN, candidate=KNOWN)
def test_strict_takes_the_very_platform(wanted: Platform, candidate: Platform) -> None:
    is_same = normalize(wanted) == normalize(candidate)

    assert (rank(wanted, candidate, strict=True) is not None) is is_same


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        (
            "linux/arm64",
            ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
        ),
        ("linux/riscv64", ["linux/riscv64"]),
    ],
)
def test_what_runs_natively(wanted: str, expected: list[str]) -> None:
    assert list(map(str, only(parse(wanted)))) == expected


@pytest.mark.parametrize(
    ("machine", "image", "runs"),
    [
        ("10.0.17763", "10.0.17763.1", True),
        ("10.0.17763", "10.0.18362", False),
        ("10.0.20348", "10.0.20348", True),
        ("10.0.26100", "10.0.20348", True),
        ("10.0.20348", "10.0.26100", False),
        ("10.0.22631", "10.0.17763", False),
        ("10.0.20348", "6.3.20348", False),
        ("", "10.0.17763", True),
        ("10.0.17763", "", True),
    ],
)
def test_windows_releases(machine: str, image: str, runs: bool) -> None:
    wanted = windows("amd64", machine)
    offered = replace(wanted, os_version=image)

    assert (rank(wanted, offered) is not None) is runs


def test_features_are_needed_and_preferred() -> None:
    plain = linux("amd64")
    special = replace(plain, os_features=("fast",))

    assert select(plain, [special, plain]) == (plain,)
    assert select(special, [plain, special]) == (special, plain)


def test_windows_images_with_and_without_win32k_run() -> None:
    wanted = windows()
    full = replace(wanted, os_features=("win32k",))

    assert select(wanted, [wanted, full]) == (full, wanted)


# This machine


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        ("x86_64", "", "linux/amd64"),
        ("i686", "", "linux/386"),
        ("aarch64", "", "linux/arm64"),
        ("loongarch64", "", "linux/loong64"),
        ("armv6l", "", "linux/arm/v6"),
        ("armv7l", "CPU architecture: 7\n", "linux/arm/v7"),
        ("armv7l", "model name : ARMv6-compatible\nCPU architecture: 7\n", "linux/arm/v6"),
        ("armv8l", "CPU architecture: 8\n", "linux/arm/v8"),
        ("armv7l", "CPU architecture: AArch64\n", "linux/arm/v8"),
        ("armv7l", "CPU architecture: odd\n", "linux/arm/v7"),
    ],
)
def test_the_host_by_its_uname(tmp_path: Path, machine: str, cpuinfo: str, expected: str) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)

    assert str(platforms._host(machine, str(tmp_path / "cpuinfo"))) == expected


def test_the_host_without_cpuinfo(tmp_path: Path) -> None:
    assert str(platforms._host("armv5tel", str(tmp_path / "none"))) == "linux/arm/v5"
