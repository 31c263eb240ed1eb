from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polyarch.cli.display.clip import LogClipper
from polyarch.record import replace
from tests.support.fakes.events import Told

RUN = Told("RUN x")


def clip(environ: dict[str, str], *logs: tuple[float, bytes]) -> list[bytes | None]:
    clipper = LogClipper(environ)
    clipper.note(RUN.step())
    clipper.note(RUN.status("part"))
    clipped = [clipper.clip(RUN.log(data, time)) for time, data in logs]
    return [None if event is None else event.data for event in clipped]


def test_size_is_limited() -> None:
    environ = {"BUILDKIT_STEP_LOG_MAX_SIZE": "4", "BUILDKIT_STEP_LOG_MAX_SPEED": "-1"}

    assert clip(environ, (0.1, b"abc"), (0.2, b"def"), (9.0, b"g")) == [
        b"abc",
        b"d\n[output clipped, log limit 4B reached]\n",
        None,
    ]


def test_the_remark_says_where_all_of_it_is() -> None:
    clipper = LogClipper({"BUILDKIT_STEP_LOG_MAX_SIZE": "4"})

    clipped = clipper.clip(replace(RUN.log(b"abcdef"), kept="/store/logs/1.log"))

    assert clipped is not None
    assert clipped.data == (
        b"abcd\n[output clipped, log limit 4B reached]\n[all of it: /store/logs/1.log]\n"
    )


def test_speed_is_limited_and_recovers() -> None:
    environ = {"BUILDKIT_STEP_LOG_MAX_SPEED": "2048"}
    remark = b"\n[output clipped, log limit 2KiB/s reached]\n"

    assert clip(environ, (0.1, b"a" * 3000), (0.2, b"b"), (5.0, b"c")) == [
        b"a" * 2048 + remark,
        None,
        b"c",
    ]


def test_defaults() -> None:
    speed = b"\n[output clipped, log limit 200KiB/s reached]\n"
    size = b"\n[output clipped, log limit 2MiB reached]\n"
    much = b"x" * (3 << 20)

    assert clip({}, (0.5, much)) == [b"x" * (200 << 10) + speed]
    assert clip({}, (60.0, much)) == [b"x" * (2 << 20) + size]


def test_streams_are_limited_each() -> None:
    clipper = LogClipper({"BUILDKIT_STEP_LOG_MAX_SIZE": "2"})
    events = [clipper.clip(RUN.log(b"ab", 0.0, stream)) for stream in (1, 2)]

    assert events == [RUN.log(b"ab", 0.0, 1), RUN.log(b"ab", 0.0, 2)]


@given(st.lists(st.tuples(st.floats(0, 100), st.binary(max_size=50))))
def test_without_limits_all_goes_through(logs: list[tuple[float, bytes]]) -> None:
    environ = {"BUILDKIT_STEP_LOG_MAX_SIZE": "-1", "BUILDKIT_STEP_LOG_MAX_SPEED": "-1"}

    assert clip(environ, *logs) == [data for _, data in logs]
