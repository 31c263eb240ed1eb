from collections.abc import Mapping

import pytest

from polyarch.dockerfile.epoch import find_epoch
from polyarch.dockerfile.parser import parse
from polyarch.errors import InputError
from polyarch.graph.location import SourceText
from polyarch.platforms import Platform

AMD64 = Platform(os="linux", architecture="amd64")
CONTEXTS: Mapping[str, int | None] = {"context": None, "source": 77}


def found(text: str, **build_args: str) -> int | None:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    return find_epoch(dockerfile, build_args, AMD64, CONTEXTS.__getitem__)


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
    ],
)
def test_find_epoch(text: str, args: dict[str, str], epoch: int | None) -> None:
    assert found(text, **args) == epoch


@pytest.mark.parametrize("value", ["never", "1.5", "--1", "²"])
def test_what_is_neither_a_number_nor_a_context(value: str) -> None:
    with pytest.raises(InputError, match=f"invalid SOURCE_DATE_EPOCH: {value}"):
        found(FROM, SOURCE_DATE_EPOCH=value)
