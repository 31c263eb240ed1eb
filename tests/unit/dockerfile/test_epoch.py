from collections.abc import Mapping

import pytest

from polyarch.dockerfile.epoch import find_epoch
from polyarch.dockerfile.parser import parse
from polyarch.errors import DockerfileError, InputError
from polyarch.graph.location import SourceText
from polyarch.graph.op import GitOp, HttpOp
from polyarch.platforms import Platform

AMD64 = Platform(os="linux", architecture="amd64")
CONTEXTS: Mapping[str, int | None] = {"context": None, "source": 77}


class Known:
    """The contexts above, and any source at all."""

    def of_context(self, name: str) -> int | None:
        return CONTEXTS[name]

    def of_source(self, op: HttpOp | GitOp) -> int | None:
        return len(op.url if isinstance(op, HttpOp) else op.remote)


def found(text: str, **build_args: str) -> int | None:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    return find_epoch(dockerfile, build_args, AMD64, Known())


FROM = "FROM scratch\n"
DEFAULT = "ARG SOURCE_DATE_EPOCH=5\n"


@pytest.mark.parametrize(
    ("text", "args", "epoch"),
    [
        (FROM, {}, None),
        (FROM, {"SOURCE_DATE_EPOCH": "60"}, 60),
        (FROM, {"SOURCE_DATE_EPOCH": "+60"}, 60),
        (FROM, {"SOURCE_DATE_EPOCH": "0"}, 0),
        (FROM, {"SOURCE_DATE_EPOCH": ""}, None),
        (FROM, {"SOURCE_DATE_EPOCH": "source"}, 77),
        (FROM, {"SOURCE_DATE_EPOCH": "context"}, None),
        (DEFAULT + FROM, {}, 5),
        (DEFAULT + FROM, {"SOURCE_DATE_EPOCH": "60"}, 60),
        ("ARG A=6\nARG SOURCE_DATE_EPOCH=${A}1\n" + FROM, {}, 61),
        (FROM + DEFAULT, {}, None),
        ("FROM scratch AS a\nADD http://h/x /\n" + FROM, {"SOURCE_DATE_EPOCH": "a"}, 10),
        ("FROM scratch AS a\nADD git@h:x.git /\n" + FROM, {"SOURCE_DATE_EPOCH": "A"}, 11),
    ],
)
def test_find_epoch(text: str, args: dict[str, str], epoch: int | None) -> None:
    assert found(text, **args) == epoch


@pytest.mark.parametrize("value", ["never", "1.5", "--1", "²", "9" * 19])
def test_what_is_neither_a_number_nor_a_context(value: str) -> None:
    with pytest.raises(InputError, match=f"invalid SOURCE_DATE_EPOCH: {value}"):
        found(FROM, SOURCE_DATE_EPOCH=value)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("FROM scratch AS a", "stage must contain exactly one remote ADD"),
        ("FROM scratch AS a\nADD x /", r"stage source must be a single HTTP\(S\) or Git ADD"),
        ("FROM scratch AS a\nADD http://h/x http://h/y /", "exactly one remote ADD source"),
        ("FROM scratch AS a\nADD http://h/x /\nADD http://h/y /", "exactly one remote ADD"),
        ("FROM scratch AS a\nADD http://h/x /\nENV A=1", "unsupported ENV instruction"),
        ("FROM base AS a\nADD http://h/x /", "stage must use FROM scratch"),
    ],
)
def test_a_stage_that_has_no_date(stage: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=f"SOURCE_DATE_EPOCH .*{message}") as caught:
        found(f"{stage}\n{FROM}", SOURCE_DATE_EPOCH="a")
    assert caught.value.line == 1


def test_a_stage_that_dates_may_have_arguments() -> None:
    text = f"ARG BASE=scratch\nFROM $BASE AS a\nARG U=http://h/\nADD ${{U}}xy /\n{FROM}"
    assert found(text, SOURCE_DATE_EPOCH="a") == len("http://h/xy")
    assert found(text, SOURCE_DATE_EPOCH="a", U="http://") == len("http://xy")


def test_the_first_stage_of_a_name_dates() -> None:
    text = f"FROM scratch AS a\nADD http://h/x /\nFROM scratch AS A\nADD http://h/longer /\n{FROM}"
    assert found(text, SOURCE_DATE_EPOCH="a") == len("http://h/x")
