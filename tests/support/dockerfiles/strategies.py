"""Strategies for hypothesis that write Dockerfiles, instruction by instruction, odd spellings included."""

from __future__ import annotations

import json

from hypothesis import strategies as st

__all__ = ["dockerfile_texts", "expansion_texts", "ignore_texts"]

_ESCAPES = st.sampled_from("\\`")
_NAMES = st.text("abcXYZ_019", min_size=1, max_size=4).map("a".__add__) | st.just("n" * 300)
_PLAIN = st.text(
    st.sampled_from("ab/.:*?-=~,@%é漢\u3000\x85")
    | st.characters(codec="utf-8", categories=["L", "N", "S"]),
    min_size=1,
    max_size=6,
)
_EXPRESSIONS = st.sampled_from(
    ["$a", "${a}", "${a:-b c}", "${a//x*/y}", "${a%%.*}", r"${a#\*}", "$1$@", "$", "${a:?'no'}"]
)
_QUOTED = st.sampled_from(
    ["'a b'", '"a b"', r'"\"$a"', "''", '"\'"', r"\ ", r"\"", "\\\\", "` ", "`'", "'`\\'", "a\tb"]
)
_WORDS = st.lists(_PLAIN | _EXPRESSIONS | _QUOTED, min_size=1, max_size=3).map("".join)
_TEXTS = st.lists(
    _WORDS | st.sampled_from([" ", "\t", "  ", "#", "--", "<<", "[", "[]"]), max_size=5
).map(" ".join)
_ARRAYS = st.lists(st.text(max_size=5) | _WORDS | st.just("<<E"), min_size=1, max_size=4).map(
    json.dumps
)
_SPACES = st.sampled_from([" ", "  ", "\t", " \t"])


def _flags(**values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Some of the flags, each at most once, written in one of the ways there are."""
    chosen = [
        st.just("") | value.map(f" --{name.replace('_', '-')}=".__add__)
        for name, value in values.items()
    ]
    return st.tuples(*chosen, st.sampled_from(["", "", "", " --"])).map("".join)


_BOOLS = st.sampled_from(["true", "false", "TRUE"])
_VALUES = st.lists(
    st.sampled_from(["a", "/b", "$a", "'c d'", '"e f"', r"\ ", r"\'", "``", '"', "=", ":", "é"]),
    max_size=4,
).map("".join)
_MOUNTS = st.lists(
    st.sampled_from(
        r"""type=cache|type=secret|id=a|target=/a|source=$a|from=b|ro|required=1|env=E|sharing=locked|size=1m
|mode=0755|uid=1|\"target=/a,b\"|'dst=/a b'|TYPE=ssh""".replace("\n", "").split("|")
    ),
    min_size=1,
    max_size=4,
).map(",".join)
_DEVICES = st.sampled_from(
    ["a/b=c", "name=a,required", "required", "name=a,required=false", "required=0"]
)
_TIMES = st.sampled_from(["1s", "1.5h", "1m30s", "100ms", "1.000000001s", "2562047h"])
_TRANSFER = {"chown": _VALUES, "chmod": _VALUES, "link": _BOOLS, "exclude": _VALUES}


_TABS = {"": st.just(""), "-": st.sampled_from(["", "\t"])}
_LINES = st.lists(st.sampled_from(["a", "\tb", "", "# c", "'", "$x \\", "EOF ", "x\r", " EOF"]))


@st.composite
def _heredocs(draw: st.DrawFn, *, is_one_word: bool) -> tuple[list[str], str]:
    """Openers of here-documents, and their bodies."""
    names = ["EOF", "E-1", "é", "a.b", "EOF"]
    openers: list[str] = []
    bodies = ""
    for _number in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(names if is_one_word else [*names, "A B"]))
        quote = draw(st.sampled_from(["'", '"'] if " " in name else ["", "", "'", '"']))
        dash = draw(st.sampled_from(["", "-"]))
        fd = draw(st.sampled_from(["", "", "3"]))
        openers.append(f"{fd}<<{dash}{quote}{name}{quote}")
        lines = [*draw(_LINES), draw(_TABS[dash]) + name]
        bodies += "".join(f"\n{line}" for line in lines)
    return openers, bodies


@st.composite
def _runs(draw: st.DrawFn) -> str:
    flags = draw(
        _flags(
            mount=_MOUNTS,
            device=_DEVICES,
            network=st.sampled_from(["none", "host", "default"]),
            security=st.sampled_from(["sandbox", "insecure"]),
        )
    )
    openers, bodies = draw(_heredocs(is_one_word=False) | st.just(([], "")))
    text = draw(_TEXTS | _ARRAYS) if not openers else draw(st.sampled_from(["", "cat ", "a | b "]))
    more = draw(st.lists(_MOUNTS.map(" --mount=".__add__), max_size=2))
    return f"RUN{''.join(more)}{flags} {text}{' '.join(openers)}{bodies}"


@st.composite
def _transfers(draw: st.DrawFn) -> str:
    copy = _flags(**_TRANSFER, **{"from": _VALUES}, parents=_BOOLS).map("COPY".__add__)
    add = _flags(**_TRANSFER, checksum=_VALUES, keep_git_dir=_BOOLS, unpack=_BOOLS).map(
        "ADD".__add__
    )
    start = draw(copy | add)
    if draw(st.integers(0, 3)) == 0:
        return f"{start} {draw(_ARRAYS)}"
    openers, bodies = draw(_heredocs(is_one_word=True) | st.just(([], "")))
    sources = draw(st.permutations([*openers, *draw(st.lists(_WORDS, max_size=2))]))
    return f"{start} {' '.join([*sources, draw(_WORDS)])}{bodies}"


_PAIRS = st.lists(
    st.tuples(_NAMES | _WORDS, _WORDS | st.just("")).map("=".join), min_size=1, max_size=3
).map(" ".join)
_HEALTHCHECKS = st.just("HEALTHCHECK NONE") | st.tuples(
    _flags(
        interval=_TIMES,
        timeout=_TIMES,
        start_period=_TIMES,
        start_interval=_TIMES,
        retries=st.just("3"),
    ).map("HEALTHCHECK".__add__),
    st.sampled_from([" CMD ", " cmd "]),
    _TEXTS | _ARRAYS,
).map("".join)


def _behind(keyword: str, rest: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.sampled_from([keyword, keyword.lower()]), _SPACES, rest).map("".join)


_ARGS = _behind("ARG", st.lists(_NAMES | _PAIRS, min_size=1, max_size=2).map(" ".join))
_INSTRUCTIONS = st.one_of(
    _runs(),
    _transfers(),
    _HEALTHCHECKS,
    _ARGS,
    _behind("ENV", _PAIRS | st.tuples(_WORDS, _SPACES, _TEXTS).map("".join)),
    _behind("LABEL", _PAIRS | st.tuples(_WORDS, _SPACES, _TEXTS).map("".join)),
    _behind("CMD", _TEXTS | _ARRAYS | st.just("[]")),
    _behind("ENTRYPOINT", _TEXTS | _ARRAYS),
    _behind("SHELL", _ARRAYS),
    _behind("EXPOSE", st.lists(_WORDS, min_size=1, max_size=3).map(" ".join)),
    _behind("VOLUME", _TEXTS | _ARRAYS),
    _behind("USER", _TEXTS),
    _behind("WORKDIR", _TEXTS),
    _behind("STOPSIGNAL", _TEXTS),
    _behind("MAINTAINER", _TEXTS),
)
_COMMENTS = st.lists(
    st.sampled_from(["# a b", "#", "", "# escape=x", "  # n", "#syntax=a", "# check=skip=all"]),
    max_size=2,
)


@st.composite
def _stages(draw: st.DrawFn) -> list[str]:
    platform = draw(_flags(platform=_VALUES))
    alias = draw(st.just("") | st.tuples(st.sampled_from([" AS ", " as "]), _NAMES).map("".join))
    lines = [f"FROM{platform} {draw(_PLAIN | _EXPRESSIONS)}{alias}"]
    for instruction in draw(
        st.lists(_INSTRUCTIONS | _INSTRUCTIONS.map("ONBUILD ".__add__), max_size=3)
    ):
        lines += *draw(_COMMENTS), instruction
    return lines


@st.composite
def dockerfile_texts(draw: st.DrawFn) -> str:
    """Texts of Dockerfiles, most of them right; the escape character is sometimes another one."""
    escape = draw(_ESCAPES)
    lines = [] if escape == "\\" else ["# escape=`"]
    if draw(st.booleans()):
        lines.append("#syntax = docker/dockerfile:1  ")
    # An empty line, so that no comment is taken for a directive.
    lines += ["", *draw(_COMMENTS)]
    lines += draw(st.lists(_ARGS, max_size=1))
    for stage in draw(st.lists(_stages(), min_size=1, max_size=2)):
        lines += *draw(_COMMENTS), *stage
    end = draw(st.sampled_from(["\n", "", f" {escape}", "\r\n"]))
    return "\n".join(lines) + end


_OPERATORS_AND_MORE = (
    r"""a|b|x| |/|*|?|.|:|-|#|%|+|<<|<|$|{|}|'|"|\|`|\*|\}|\/|\\|$a|${b}|${c|${a|${n|${b//|${b%%|${a#|:-"""
    "|//|$0|${é|¹|\u3000|\n|\ufeff"
)
_PIECES = st.sampled_from(_OPERATORS_AND_MORE.split("|"))


def expansion_texts() -> st.SearchStrategy[str]:
    """Words with variables, modifiers, patterns, quotes and escapes, nested as it comes."""
    operators = st.sampled_from([":-", "-", ":+", "+", ":?", "?", "#", "##", "%", "%%"])
    plain = st.lists(_PIECES, max_size=6).map("".join)
    names = st.sampled_from(["a", "b", "c", "n", "é", "1"])

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        default = st.tuples(st.just("${"), names, operators, inner, st.just("}"))
        replacement = st.tuples(
            st.just("${"),
            names,
            st.sampled_from(["/", "//"]),
            inner,
            st.just("/"),
            inner,
            st.just("}"),
        )
        quoted = inner.map(lambda text: f'"{text}"')
        return st.lists(
            default.map("".join) | replacement.map("".join) | quoted | inner, min_size=1, max_size=3
        ).map("".join)

    return st.recursive(plain, larger, max_leaves=5)


def ignore_texts() -> st.SearchStrategy[str]:
    """Ignore files of the patterns that `ignore_model` knows."""
    piece = st.sampled_from(
        [
            "a",
            "b",
            "c",
            "/",
            "/",
            "*",
            "**",
            "**/",
            "?",
            ".",
            "..",
            "[ab]",
            "[^a]",
            "[a-d]",
            r"\*",
            r"\[",
            "-",
            " ",
        ]
    )
    pattern = st.lists(piece, min_size=1, max_size=6).map("".join)
    line = st.tuples(st.sampled_from(["", "", "!", "! ", " ", "# "]), pattern).map("".join)
    return st.lists(line, max_size=6).map("\n".join)
