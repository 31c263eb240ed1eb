from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.dockerfile.syntax.statement import Statement, split_statement
from polyarch.errors import DockerfileError


@pytest.mark.parametrize(
    ("text", "flags", "arguments"),
    [
        ("COPY a b", (), ("a", "b")),
        ("COPY --from=x --link a b", ("--from=x", "--link"), ("a", "b")),
        ("COPY --from=x -- --a b", ("--from=x",), ("--a", "b")),
        ("COPY --chown='a b' c d", ("--chown=a b",), ("c", "d")),
        (r"COPY --chown=a\ b c d", ("--chown=a b",), ("c", "d")),
        ('COPY "--link" a b', (), ('"--link"', "a", "b")),
        ("COPY a --link b", (), ("a", "--link", "b")),
        ("COPY --link", ("--link",), ()),
        ("COPY --chown='a", ("--chown=a",), ()),
        ("COPY --chown=é a b", ("--chown=é",), ("a", "b")),
        ("copy\ta\v\fb", (), ("a", "b")),
        ("RUN --a\\", ("--a",), ()),
        ("RUN", (), ()),
        ("RUN  echo  a ", (), ("echo  a",)),
        ("USER a b", (), ("a b",)),
        ("EXPOSE 80  443/tcp", (), ("80", "443/tcp")),
        ("ARG a b=c 'd e'=f", (), ("a", "b=c", "'d e'=f")),
        ("ARG", (), ()),
        ("NONSENSE a b", (), ()),
        ("HEALTHCHECK --interval=1s CMD a  b", ("--interval=1s",), ("CMD", "a  b")),
        ("HEALTHCHECK NONE", (), ("NONE",)),
        ("HEALTHCHECK", (), ()),
    ],
)
def test_split_statement(text: str, flags: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    statement = split_statement(text)

    assert (statement.flags, statement.arguments) == (flags, arguments)
    assert not statement.is_json


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('CMD ["a", "b c"]', ("a", "b c")),
        ("CMD []", ()),
        (r'CMD ["\u00e9\ud800"]', ("é\ufffd",)),
        ('VOLUME ["/a"]', ("/a",)),
        ('HEALTHCHECK CMD ["a"]', ("CMD", "a")),
    ],
)
def test_json_form(text: str, arguments: tuple[str, ...]) -> None:
    statement = split_statement(text)

    assert statement.is_json
    assert statement.arguments == arguments


@pytest.mark.parametrize(
    "rest",
    ["['a']", '["a"', '["a",]', '["a"] b', "[NaN]", "[1e999]", '["\t"]', "[" * 100_000],
)
def test_what_is_no_json_is_shell_form(rest: str) -> None:
    assert split_statement(f"CMD {rest}") == Statement(
        keyword="CMD", arguments=(rest,), text=f"CMD {rest}"
    )


@pytest.mark.parametrize("item", ["1", "null", "true", "{}", '["a"]', "9" * 300])
def test_json_array_with_other_items_is_refused(item: str) -> None:
    with pytest.raises(DockerfileError, match="must be comprised of strings only"):
        split_statement(f'RUN ["a", {item}]')


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ENV a=b c='d e' f=", (("a", "b"), ("c", "'d e'"), ("f", ""))),
        (r"ENV a=b\ c", (("a", r"b\ c"),)),
        ('LABEL "a b"="c=d"', (('"a b"', '"c=d"'),)),
        ("ENV a=b\\", (("a", "b"),)),
        ('ENV a="b\\', (("a", '"b'),)),
    ],
)
def test_pairs(text: str, pairs: tuple[tuple[str, str], ...]) -> None:
    statement = split_statement(text)

    assert statement.pairs == pairs
    assert not statement.is_legacy


def test_legacy_pair() -> None:
    statement = split_statement("ENV name the  rest=of it")

    assert statement.pairs == (("name", "the  rest=of it"),)
    assert statement.is_legacy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ENV a", "ENV must have two arguments"),
        ("label a", "LABEL must have two arguments"),
        (
            'ENV a=b "c"',
            r"""Syntax error - can't find = in "\"c\"". Must be of the form: name=value""",
        ),
    ],
)
def test_pairs_are_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        split_statement(text)

    assert str(caught.value) == message


def test_trigger() -> None:
    assert split_statement("ONBUILD  COPY --link a b") == Statement(
        keyword="ONBUILD",
        text="ONBUILD  COPY --link a b",
        trigger=Statement(
            keyword="COPY", flags=("--link",), arguments=("a", "b"), text="COPY --link a b"
        ),
    )


def test_many_triggers_in_each_other_are_refused() -> None:
    with pytest.raises(DockerfileError, match="Chaining ONBUILD"):
        split_statement("ONBUILD " * 8000 + "RUN a")


@given(st.sampled_from(["RUN", "COPY", "ENV", "ONBUILD ARG", "HEALTHCHECK CMD"]), st.text())
def test_split_statement_raises_nothing_but_our_error(keyword: str, rest: str) -> None:
    with contextlib.suppress(DockerfileError):
        split_statement(f"{keyword} {rest}")


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_json_form_is_what_json_says(items: list[str]) -> None:
    statement = split_statement(f"CMD {json.dumps(items)}")

    assert statement.is_json
    assert statement.arguments == tuple(items)
