from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from polyarch.cli.display.base import Caption, Display
from polyarch.cli.display.display import open_display
from polyarch.errors import Cancelled
from polyarch.progress import Event, StatusEvent
from tests.support.fakes.events import START, ByteStream, Clock, Told

Play = Callable[..., str]


def play(
    *events: Event | float, environ: Mapping[str, str] | None = None, error: Exception | None = None
) -> str:
    """Show events; numbers among them move the clock to so many seconds after START."""
    stream, clock = ByteStream(), Clock()
    display: Display = open_display("plain", stream=stream, environ=environ or {}, clock=clock)
    for event in events:
        if isinstance(event, float):
            clock.now = START + event
        else:
            display(event)
    display.finish(error)
    return stream.text()


def test_a_build() -> None:
    stream, clock = ByteStream(), Clock()
    load = Told("[internal] load build definition from Dockerfile")
    base = Told("[1/2] FROM docker.io/library/alpine:latest")
    run = Told('[2/2] RUN echo "hello"')
    caption = Caption(builder="default", driver="docker")
    with open_display("plain", stream=stream, environ={}, caption=caption, clock=clock) as sink:
        sink(load.step(0.0))
        sink(load.status("transferring dockerfile:"))
        sink(load.status("transferring dockerfile:", 208, completed=0.001))
        sink(load.step(0.0, 0.02))
        sink(base.step(0.02, 0.02, cached=True))
        sink(run.step(0.1))
        sink(run.log(b"hello\n", 0.323))
        sink(run.step(0.1, 0.4))

    assert stream.text() == (
        '#0 building with "default" instance using docker driver\n'
        "\n"
        "#1 [internal] load build definition from Dockerfile\n"
        "#1 transferring dockerfile: 208B done\n"
        "#1 DONE 0.0s\n"
        "\n"
        "#2 [1/2] FROM docker.io/library/alpine:latest\n"
        "#2 CACHED\n"
        "\n"
        '#3 [2/2] RUN echo "hello"\n'
        "#3 0.223 hello\n"
        "#3 DONE 0.3s\n"
    )


def test_switching_away_and_back() -> None:
    amd64, arm64 = Told("[linux/amd64 2/2] RUN make"), Told("[linux/arm64 2/2] RUN make")

    assert play(
        amd64.step(0.0),
        arm64.step(0.0),
        amd64.log(b"cc -c a.c\ncc -c", 1.0),
        arm64.log(b"cc -c a.c\n", 1.5),
        arm64.step(0.0, 2.0),
        amd64.log(b" b.c\n", 2.5),
        amd64.step(0.0, 12.0),
    ) == (
        "#1 [linux/amd64 2/2] RUN make\n"
        "#1 1.000 cc -c a.c\n"
        "#1 1.000 cc -c\n"
        "#1 ...\n"
        "\n"
        "#2 [linux/arm64 2/2] RUN make\n"
        "#2 1.500 cc -c a.c\n"
        "#2 DONE 2.0s\n"
        "\n"
        "#1 [linux/amd64 2/2] RUN make\n"
        "#1 1.000 cc -c b.c\n"
        "#1 DONE 12.0s\n"
    )


def test_partial_lines_are_continued() -> None:
    run = Told("RUN x")

    assert (
        play(
            run.step(),
            run.log(b"10%\r", 1.0),
            run.log(b"20%\r", 2.0),
            run.log(b"\xff done", 3.0, 2),
            run.step(0.0, 4.0),
        )
        == "#1 RUN x\n#1 1.000 10%\r20%\r\ufffd done\n#1 DONE 4.0s\n"
    )


def test_log_times_lose_decimals() -> None:
    run = Told("RUN x")

    assert play(run.step(), *(run.log(b"x\n", time) for time in (9.9994, 10.0, 99.994, 100.0))) == (
        "#1 RUN x\n#1 9.999 x\n#1 10.00 x\n#1 99.99 x\n#1 100.0 x\n"
    )


def test_statuses_are_throttled() -> None:
    pull = Told("[1/2] FROM alpine")
    told = [
        event
        for seconds, current in [(1.0, 10), (2.0, 40), (3.0, 100), (7.0, 101), (12.5, 102)]
        for event in (seconds, pull.status("sha256:ab", current, 1000))
    ]

    assert play(pull.step(), *told, pull.status("sha256:ab", 1000, 1000, completed=13.0)) == (
        "#1 [1/2] FROM alpine\n"
        "#1 sha256:ab 10B / 1.00kB 1.0s\n"
        "#1 sha256:ab 101B / 1.00kB 7.0s\n"
        "#1 sha256:ab 102B / 1.00kB 12.5s\n"
        "#1 sha256:ab 1.00kB / 1.00kB 13.0s done\n"
    )


def test_a_remark_is_a_line_of_its_own() -> None:
    run = Told("[2/2] RUN x")
    remark = StatusEvent(
        step=run.digest, id="not cached: a is new", started=START, completed=START, is_remark=True
    )

    assert play(run.step(), remark, run.step(0.0, 0.1)) == (
        "#1 [2/2] RUN x\n#1 not cached: a is new\n#1 DONE 0.1s\n"
    )


def test_steps_have_the_numbers_that_they_are_shown_with() -> None:
    display = open_display("plain", stream=ByteStream(), environ={}, clock=Clock())
    first, second, untold = Told("RUN a"), Told("RUN b"), Told("RUN c")
    for event in (first.step(), first.step(0.0, 0.1), second.step()):
        display(event)

    assert [display.number(each.digest) for each in (first, second, untold)] == [1, 2, 0]


def test_a_failure_shows_the_last_lines() -> None:
    run = Told("[2/2] RUN false")
    log = "".join(f"line {number}\n" for number in range(12)).encode()
    error = 'process "/bin/sh -c false" did not complete successfully: exit code: 1'
    tail = "".join(f"0.500 line {number}\n" for number in range(2, 12))

    out = play(run.step(), run.log(log, 0.5), run.step(0.0, 1.0, error=error))

    assert out.endswith(
        f"#1 ERROR: {error}\n------\n > [2/2] RUN false:\n{tail}------\n",
    )


def test_cancelled_steps_have_no_failure() -> None:
    run = Told("RUN x")

    assert play(run.step(), run.step(0.0, 1.0, error="context canceled")) == (
        "#1 RUN x\n#1 CANCELED\n"
    )


def test_an_error_cancels_what_still_runs() -> None:
    run = Told("RUN x")

    assert play(run.step(), run.log(b"x", 1.0), error=Cancelled("the build was cancelled")) == (
        "#1 RUN x\n#1 1.000 x\n#1 CANCELED\n"
    )


def test_warnings_come_with_the_step_and_at_the_end() -> None:
    lint = Told("[internal] load build definition from Dockerfile")
    short = "MaintainerDeprecated: Maintainer instruction is deprecated (line 2)"

    assert play(lint.step(), lint.warning(short), lint.step(0.0, 1.0), lint.warning("Other")) == (
        "#1 [internal] load build definition from Dockerfile\n"
        f"#1 WARN: {short}\n"
        "#1 DONE 1.0s\n"
        "\n"
        "#1 [internal] load build definition from Dockerfile\n"
        "#1 WARN: Other\n"
        "#1 DONE 1.0s\n"
        "\n"
        " 2 warnings found (use --debug to expand):\n"
        f" - {short}\n"
        " - Other\n"
    )


def test_late_warnings_are_shown_together_before_other_steps() -> None:
    first, second = Told("first"), Told("second")
    late = (first.warning("a"), first.warning("b"))

    assert play(first.step(), first.step(0.0, 1.0), *late, second.step(1.0, 2.0)).startswith(
        "#1 first\n#1 DONE 1.0s\n\n#1 first\n#1 WARN: a\n#1 WARN: b\n#1 DONE 1.0s\n\n#2 second\n"
    )


def test_debug_expands_warnings() -> None:
    stream = ByteStream()
    lint = Told("lint")
    warning = lint.warning(
        "Short", detail=("Why", "How"), url="https://example.com/", excerpt="D:1\n"
    )

    with open_display("plain", stream=stream, environ={}, debug=True, clock=Clock()) as sink:
        sink(warning)

    assert stream.text() == (
        "\n 1 warning found:\n - Short\nWhy\nHow\nMore info: https://example.com/\nD:1\n\n"
    )


def test_long_names_are_cut_on_demand() -> None:
    run = Told("x" * 80)

    assert play(run.step(), environ={"PROGRESS_NO_TRUNC": "0"}) == f"#1 {'x' * 72}...\n"
    assert play(run.step()) == f"#1 {'x' * 80}\n"


def test_a_hidden_step_is_shown_after_ten_seconds() -> None:
    loud, quiet = Told("RUN loud"), Told("RUN quiet")

    assert play(
        loud.step(), quiet.step(), 9.0, loud.log(b"x\n", 9.0), 11.0, loud.log(b"y\n", 11.0)
    ) == ("#1 RUN loud\n#1 9.000 x\n#1 11.00 y\n#1 ...\n\n#2 RUN quiet\n")


def test_a_step_that_never_started_is_not_shown() -> None:
    assert play(Told("RUN x").step(None), Told("unknown").log(b"x\n")) == ""


def test_a_step_that_runs_twice_counts_both_times() -> None:
    run = Told("exporting cache")

    assert play(run.step(0.0, 1.0), run.step(3.0, 5.0)) == (
        "#1 exporting cache\n#1 DONE 1.0s\n\n#1 exporting cache\n#1 DONE 3.0s\n"
    )


def test_a_part_may_outlive_its_step() -> None:
    load = Told("importing cache manifest")

    assert play(
        load.step(0.0, 0.0), 1.0, load.status("blob"), load.status("blob", completed=2.0)
    ) == (
        "#1 importing cache manifest\n#1 DONE 0.0s\n"
        "\n#1 importing cache manifest\n#1 blob 1.0s\n#1 blob 2.0s done\n#1 DONE 0.0s\n"
    )


@pytest.mark.parametrize("mode", ["quiet", "none"])
def test_quiet_shows_nothing(mode: str) -> None:
    stream = ByteStream()
    with open_display(mode, stream=stream, environ={}) as sink:
        sink(Told("RUN x").step())
        sink(Told("RUN x").warning("w"))

    assert stream.text() == ""


def test_events_after_the_end_are_forgotten() -> None:
    stream = ByteStream()
    display = open_display("auto", stream=stream, environ={}, clock=Clock())
    display.finish()
    display(Told("RUN x").step())
    display.finish()

    assert stream.text() == ""


def test_a_closed_stream_does_not_end_the_build() -> None:
    stream = ByteStream()
    with open_display("plain", stream=stream, environ={}, clock=Clock()) as sink:
        stream.close()
        sink(Told("RUN x").step())
        sink(Told("RUN x").log(b"x\n"))


def test_the_busier_step_is_shown_after_a_while() -> None:
    slow, busy = Told("RUN slow"), Told("RUN busy")
    logs = [busy.log(b"x\n", 1.0) for _ in range(3)]

    assert play(
        slow.step(), 5.0, busy.step(), *logs, 6.0, slow.log(b"s\n", 6.0), 8.0, busy.log(b"y\n", 8.0)
    ).startswith("#1 RUN slow\n#1 6.000 s\n#1 ...\n\n#2 RUN busy\n#2 1.000 x\n")


def test_an_unfinished_line_is_ended_before_failures() -> None:
    failed, run = Told("RUN false"), Told("RUN x")

    assert play(failed.step(0.0, 1.0, error="no"), run.step(), run.log(b"half", 2.0)).endswith(
        "#2 RUN x\n#2 2.000 half\n------\n > RUN false:\n------\n"
    )


def test_a_young_part_waits_for_the_next_event() -> None:
    load = Told("load")

    assert play(load.step(), load.status("part", 5), 0.5, load.log(b"x\n", 0.5)) == (
        "#1 load\n#1 part 5B\n#1 0.500 x\n"
    )


def test_a_part_that_ends_soon_is_one_line_whatever_else_happens() -> None:
    push = Told("exporting to image")
    begun = [push.status(f"pushing layer {name}", 0, 5) for name in "ab"]
    ended = [push.status(f"pushing layer {name}", 5, 5, completed=0.06) for name in "ab"]

    assert play(push.step(), *begun, 0.05, push.log(b"x\n"), 0.06, *ended) == (
        "#1 exporting to image\n"
        "#1 0.000 x\n"
        "#1 pushing layer a 5B / 5B 0.1s done\n"
        "#1 pushing layer b 5B / 5B 0.1s done\n"
    )
