from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polyarch.cli.display.base import Caption
from polyarch.cli.display.cells import cell_width
from polyarch.cli.display.colours import Colours
from polyarch.cli.display.frame import Row, View, draw, wrap_rows
from polyarch.cli.display.trace import Trace
from polyarch.progress import Event
from tests.support.fakes.events import START, Told

PLAIN = Colours(run="", cancel="", error="", warning="")


def view(width: int = 50, height: int = 24, *, final: bool = False, log_lines: int = 6) -> View:
    return View(width=width, height=height, colours=PLAIN, final=final, log_lines=log_lines)


def traced(*events: Event) -> Trace:
    trace = Trace(keep=None)
    for event in events:
        trace.apply(event, START)
    return trace


def shown(trace: Trace, view: View, seconds: float) -> list[str]:
    return [
        line.removeprefix("\x1b[2m").removesuffix("\x1b[0m")
        for line in draw(trace, view, START + seconds, {})
    ]


def test_a_running_build() -> None:
    base, run = Told("[1/2] FROM alpine"), Told("[2/2] RUN\tmake")
    trace = traced(
        base.step(0.0, 1.0, cached=True),
        base.status("sha256:ab", 10, 1000),
        run.step(0.5),
        run.log(b"one\n10%\r20%", 1.0),
        Told("later").step(None),
    )

    assert shown(trace, view(), 2.0) == [
        "[+] Building 2.0s (1/3)",
        " => CACHED [1/2] FROM alpine                 1.0s",
        " => => sha256:ab 10B / 1.00kB                2.0s",
        " => [2/2] RUN make                           1.5s",
        " => => # one",
        " => => # 20%",
    ]


def test_a_finished_build() -> None:
    trace = traced(
        Told("a").step(0.0, 0.01), Told("b").step(0.0, 1.0, error="x"), Told("b").warning("w")
    )
    drawn = View(
        width=60,
        height=24,
        colours=Colours(),
        final=True,
        caption=Caption(builder="default", driver="docker"),
    )

    assert draw(trace, drawn, START + 1.0, {}) == [
        "[+] Building 1.0s (2/2) FINISHED             docker:default",
        "\x1b[34m => a                                                  0.0s\x1b[0m",
        "\x1b[31m => ERROR b                                            1.0s\x1b[0m",
        " => WARN: w                                            1.0s",
    ]


def test_cancelled_steps_say_so() -> None:
    trace = traced(Told("a").step(0.0, 1.0, error="canceled"))

    assert shown(trace, view(40), 1.0)[1:] == [" => CANCELED a                     1.0s"]


def test_wide_characters_are_aligned() -> None:
    trace = traced(Told("日本語" * 10).step(0.0, 1.0))

    line = shown(trace, view(40), 1.0)[1]

    assert cell_width(line) == 39
    assert line == " => " + "日本語" * 4 + "日本" + "   1.0s"


def test_the_header_says_what_is_done() -> None:
    trace = traced(Told("a").step(0.0, 0.01))
    drawn = View(width=60, height=24, colours=Colours(), caption=Caption(work="Pushing"))

    assert draw(trace, drawn, START + 1.0, {})[0] == "[+] Pushing 1.0s (1/1)"


def test_a_narrow_terminal_shows_the_header_only() -> None:
    trace = traced(Told("a").step(0.0, 1.0))

    assert shown(trace, view(18), 1.0) == ["[+] Building 1.0s"]


def test_logs_of_several_platforms_side_by_side() -> None:
    events: list[Event] = []
    for platform in ("linux/amd64", "linux/arm64", "linux/arm/v7"):
        run = Told(f"[{platform} 2/2] RUN make")
        events += [run.step(), run.log(f"cc for {platform}\n".encode(), 1.0)]

    assert shown(traced(*events), view(60, 40), 1.0) == [
        "[+] Building 1.0s (0/3)",
        " => [linux/amd64 2/2] RUN make                         1.0s",
        " => => # cc for linux/amd64",
        " => [linux/arm64 2/2] RUN make                         1.0s",
        " => => # cc for linux/arm64",
        " => [linux/arm/v7 2/2] RUN make                        1.0s",
        " => => # cc for linux/arm/v7",
    ]


def test_logs_need_room() -> None:
    run = Told("RUN make")
    trace = traced(run.step(), run.log(b"x\n", 1.0))

    assert len(shown(trace, view(50, 12), 1.0)) == 2
    assert len(shown(trace, view(50, 13), 1.0)) == 3


def test_the_log_panel_has_the_wanted_height() -> None:
    run = Told("RUN make")
    trace = traced(run.step(), run.log(b"x\n" * 30 + b"x", 1.0))

    heights = [len(shown(trace, view(50, 60, log_lines=lines), 1.0)) - 2 for lines in (1, 6, 12)]

    assert heights == [6, 6, 12]


def rows(spec: str) -> list[Row]:
    return [Row(name=char, seconds=0, completed=char.islower()) for char in spec]


def names(wrapped: list[Row]) -> str:
    return "".join(row.name for row in wrapped)


def test_wrap_rows_keeps_open_ones() -> None:
    assert names(wrap_rows(rows("abc"), 5)) == "abc"
    assert names(wrap_rows(rows("abcdef"), 3)) == "def"
    assert names(wrap_rows(rows("aBcdef"), 3)) == "Bef"
    assert names(wrap_rows(rows("ABCdef"), 2)) == "BC"
    assert names(wrap_rows(rows("ABcDE"), 2)) == "DE"
    assert names(wrap_rows(rows("abc"), 0)) == ""
    assert names(wrap_rows(rows("abc"), -1)) == ""


@given(st.text("aA", max_size=30), st.integers(0, 10))
def test_wrap_rows_never_shows_more_than_fits(spec: str, limit: int) -> None:
    wrapped = wrap_rows(rows(spec), limit)

    assert len(wrapped) == min(limit, len(spec))


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=90),
    st.integers(1, 100),
    st.floats(0, 1e6),
)
def test_no_line_is_wider_than_the_terminal(name: str, width: int, seconds: float) -> None:
    run = Told(name)
    trace = traced(run.step(), run.log(name.encode(), 1.0), run.status("blob", 3, 10_000_000))

    assert all(cell_width(line) < max(width, 2) for line in shown(trace, view(width, 40), seconds))
