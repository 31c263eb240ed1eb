"""Errors that an engine raises are raised at its caller: same class, same content."""

from __future__ import annotations

import errno
import json

import pytest

from polyarch import errors
from polyarch.cli.frame.report import CommandFailed
from polyarch.errors import (
    DockerfileError,
    InputError,
    InternalError,
    PolyarchError,
    RegistryError,
    RemoteError,
    StepFailed,
    StoreError,
)
from polyarch.graph.location import Location, SourceText
from polyarch.library.failures import decode_error, encode_error

KINDS = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, PolyarchError)
]
PLACE = Location(source=SourceText(name="Dockerfile", text="FROM a\nRUN b\nRUN c"), start=2, end=2)


def travelled(error: BaseException) -> Exception:
    return decode_error(json.loads(json.dumps(encode_error(error))))


@pytest.mark.parametrize("kind", KINDS)
def test_each_class_comes_back(kind: type[PolyarchError]) -> None:
    error = kind("what is wrong", hint="what to do")

    received = travelled(error)

    assert type(received) is kind
    assert vars(received) == vars(error)
    assert str(received) == "what is wrong"


def test_what_the_machine_does_wrong_is_no_bug() -> None:
    received = travelled(PermissionError(errno.EACCES, "Permission denied", "/a"))

    assert type(received) is StoreError
    assert str(received) == "can't use /a: Permission denied"
    assert type(travelled(FileNotFoundError(errno.ENOENT, "gone", "/a"))) is InternalError


def test_the_place_comes_back() -> None:
    received = travelled(DockerfileError("no", place=PLACE))

    assert isinstance(received, DockerfileError)
    assert received.place is not None
    assert (received.line, received.place.excerpt()) == (2, PLACE.excerpt())


@pytest.mark.parametrize(
    "error",
    [
        StepFailed("no", status=7, tail=("one", "two")),
        RegistryError("no", status=429, codes=("TOOMANYREQUESTS",), temporary=True),
        RemoteError("no", temporary=True),
    ],
)
def test_what_a_class_carries_comes_back(error: PolyarchError) -> None:
    assert vars(travelled(error)) == vars(error)


def test_an_error_of_another_room_comes_back_as_the_nearest_class() -> None:
    received = travelled(CommandFailed("failed: ", InternalError("no", hint="tell us")))

    assert type(received) is PolyarchError
    assert (str(received), received.hint, received.exit_status) == ("failed: no", "tell us", 70)


def test_several_errors_come_back() -> None:
    group = ExceptionGroup("two things", [InputError("one"), StepFailed("two", status=3)])

    received = travelled(group)

    assert isinstance(received, ExceptionGroup)
    assert received.message == "two things"
    assert [repr(each) for each in received.exceptions] == [
        "InputError('one')",
        "StepFailed('two')",
    ]


def test_a_bug_comes_back_as_one_with_its_traceback() -> None:
    def buggy() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        buggy()
    received = travelled(caught.value)

    assert isinstance(received, InternalError)
    assert str(received) == "this is a bug of polyarch: KeyError: 'x'"
    assert "in buggy" in received.__notes__[0]


@pytest.mark.parametrize(
    "change",
    [
        {"class": "Location"},
        {"class": "annotations"},
        {"class": 7},
        {"place": {}},
        {"exit_status": "x"},
        {"notes": 5},
    ],
)
def test_an_error_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InternalError, match="an error that can't be read"):
        decode_error({**encode_error(InputError("no")), **change})
