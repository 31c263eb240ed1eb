from collections.abc import Mapping

import pytest

from polyarch.dockerfile.lowering.epoch import find_epoch
from polyarch.dockerfile.parser import parse
from polyarch.errors import InputError
from polyarch.graph.location import SourceText
from polyarch.graph.op import GitOp, HttpOp
from tests.support.images.platforms import AMD64

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


@pytest.mark.parametrize("value", ["never", "1.5", "--1", "²"])
def test_what_is_neither_a_number_nor_a_context(value: str) -> None:
    with pytest.raises(InputError, match=f"invalid SOURCE_DATE_EPOCH: {value}"):
        found(FROM, SOURCE_DATE_EPOCH=value)


@pytest.mark.parametrize(
    "stage",
    [
        "FROM scratch AS a",
        "FROM scratch AS a\nADD x /",
        "FROM scratch AS a\nADD http://h/x http://h/y /",
        "FROM scratch AS a\nADD http://h/x /\nENV A=1",
        "FROM base AS a\nADD http://h/x /",
    ],
)
def test_a_stage_that_has_no_date(stage: str) -> None:
    with pytest.raises(InputError, match="invalid SOURCE_DATE_EPOCH: a"):
        found(f"{stage}\n{FROM}", SOURCE_DATE_EPOCH="a")
