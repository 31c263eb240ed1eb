"""The grammar of command lines, with the answers and messages of docker's."""

from __future__ import annotations

import pytest

from polyarch.cli.frame.flags import Flag, Kind, Options, UsageError, parse_flags
from polyarch.errors import InputError


def _even(value: str) -> None:
    if int(value) % 2:
        raise InputError(f"{value} is odd", hint="take an even one")


FLAGS = (
    Flag(name="all", short="a", kind=Kind.SWITCH),
    Flag(name="quiet", short="q", kind=Kind.SWITCH, default="true"),
    Flag(name="tag", short="t", kind=Kind.LIST),
    Flag(name="host", kind=Kind.FIELDS),
    Flag(name="filter", kind=Kind.FILTER),
    Flag(name="file", short="f", default="Dockerfile"),
    Flag(name="jobs", kind=Kind.NUMBER),
    Flag(name="size", kind=Kind.SIZE),
    Flag(name="timeout", kind=Kind.DURATION, default="20s"),
    Flag(name="even", check=_even),
    Flag(name="secretive", hidden=True),
)


def read(*words: str, mixed: bool = True) -> Options:
    return parse_flags(FLAGS, words, mixed=mixed)


@pytest.mark.parametrize(
    "words",
    [
        ("-a", "-t", "x", "-f", "y", "z"),
        ("-at", "x", "-fy", "z"),
        ("--all", "--tag=x", "--file", "y", "z"),
        ("z", "-a=true", "-tx", "-f=y"),
        ("-f", "n", "-af=y", "-tx", "--", "z"),
    ],
)
def test_ways_to_say_the_same(words: tuple[str, ...]) -> None:
    options = read(*words)

    assert options.is_set("all")
    assert (options.values("tag"), options.text("file")) == (("x",), "y")
    assert options.arguments == ("z",)


def test_defaults() -> None:
    options = read()

    assert (options.is_set("all"), options.is_set("quiet")) == (False, True)
    assert (options.text("file"), options.given("file")) == ("Dockerfile", False)
    assert (options.values("tag"), options.number("jobs"), options.size("size")) == ((), 0, 0)
    assert options.seconds("timeout") == 20.0


def test_values_by_their_kind() -> None:
    options = read(
        *("--tag=a,b", "--tag=c", "--host=a,b", '--host="c,d"', "--host=", "--filter=x=1"),
        *("--jobs=+3", "--size=1.5k", "--timeout=1m30s", "--quiet=F", "--even=4"),
    )

    assert options.values("tag") == ("a,b", "c")
    assert options.values("host") == ("a", "b", "c,d")
    assert options.values("filter") == ("x=1",)
    assert (options.number("jobs"), options.size("size")) == (3, 1536)
    assert (options.seconds("timeout"), options.is_set("quiet")) == (90.0, False)


def test_what_follows_an_argument_may_be_another_programs() -> None:
    options = read("-a", "image", "-q", "--nonsense", mixed=False)

    assert options.arguments == ("image", "-q", "--nonsense")
    assert read("a", "--", "-q", "--", "b").arguments == ("a", "-q", "--", "b")
    assert read("-").arguments == ("-",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nonsense",), "unknown flag: --nonsense"),
        (("--fil=x",), "unknown flag: --fil (did you mean --file?)"),
        (("--secretiv=x",), "unknown flag: --secretiv"),
        (("---all",), "bad flag syntax: ---all"),
        (("--=x",), "bad flag syntax: --=x"),
        (("-ax",), "unknown shorthand flag: 'x' in -ax"),
        (("--file",), "flag needs an argument: --file"),
        (("-at",), "flag needs an argument: 't' in -at"),
    ],
)
def test_words_that_are_no_flags(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(*words)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("word", "flag", "reason"),
    [
        ("--all=yes", "-a, --all", 'strconv.ParseBool: parsing "yes": invalid syntax'),
        ("--jobs=1_0", "--jobs", 'strconv.ParseInt: parsing "1_0": invalid syntax'),
        ("--size=x", "--size", "invalid size: 'x'"),
        ("--timeout=5", "--timeout", 'time: missing unit in duration "5"'),
        ("--filter=x", "--filter", "bad format of filter (expected name=value)"),
        ('--host=a"', "--host", 'parse error on line 1, column 2: bare " in non-quoted-field'),
        ("--even=3", "--even", "3 is odd"),
    ],
)  # fmt: skip
def test_values_that_a_flag_does_not_take(word: str, flag: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        read(word)

    value = word.partition("=")[2].replace('"', '\\"')
    assert str(caught.value) == f'invalid argument "{value}" for "{flag}" flag: {reason}'


def test_a_hint_of_a_check_is_kept() -> None:
    with pytest.raises(InputError) as caught:
        read("--even=5")

    assert caught.value.hint == "take an even one"
