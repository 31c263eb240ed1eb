from __future__ import annotations

import json

from polyarch.cli.display.display import open_display
from polyarch.progress import Event, StepEvent
from tests.support.fakes.events import ByteStream, Clock, Told

RUN = Told("[2/2] RUN a && b")


def lines(*events: Event) -> list[str]:
    stream = ByteStream()
    with open_display("rawjson", stream=stream, environ={}, clock=Clock()) as sink:
        for event in events:
            sink(event)
    return stream.text().splitlines()


def test_vertex() -> None:
    assert lines(RUN.step(0.0), RUN.step(0.5, 1.25, cached=True, error="x")) == [
        (
            f'{{"vertexes":[{{"digest":"{RUN.digest}","name":"[2/2] RUN a \\u0026\\u0026 b",'
            '"started":"2023-11-14T22:13:20Z"}]}'
        ),
        (
            f'{{"vertexes":[{{"digest":"{RUN.digest}","name":"[2/2] RUN a \\u0026\\u0026 b",'
            '"started":"2023-11-14T22:13:20.5Z","completed":"2023-11-14T22:13:21.25Z","cached":true,'
            '"error":"x"}]}'
        ),
    ]


def test_an_error_that_may_pass() -> None:
    event = StepEvent(step=RUN.digest, name="a", error="says 503", retryable=True)

    assert [json.loads(line)["vertexes"][0]["retryable"] for line in lines(event)] == [True]


def test_status() -> None:
    assert [json.loads(line) for line in lines(RUN.status("a", 1, 2), RUN.status("b", 0))] == [
        {
            "statuses": [
                {
                    "id": "a",
                    "vertex": RUN.digest,
                    "total": 2,
                    "current": 1,
                    "timestamp": "2023-11-14T22:13:20Z",
                    "started": "2023-11-14T22:13:20Z",
                }
            ]
        },
        {
            "statuses": [
                {
                    "id": "b",
                    "vertex": RUN.digest,
                    "current": 0,
                    "timestamp": "2023-11-14T22:13:20Z",
                    "started": "2023-11-14T22:13:20Z",
                }
            ]
        },
    ]


def test_log() -> None:
    assert lines(RUN.log(b"hi\n", 0.000001, 2)) == [
        (
            f'{{"logs":[{{"vertex":"{RUN.digest}","stream":2,"data":"aGkK",'
            '"timestamp":"2023-11-14T22:13:20.000001Z"}]}'
        )
    ]


def test_warning() -> None:
    warning = RUN.warning("short", detail=("a", "b"), url="https://example.com/", line=3)

    assert [json.loads(line) for line in lines(warning)] == [
        {
            "warnings": [
                {
                    "vertex": RUN.digest,
                    "level": 1,
                    "short": "c2hvcnQ=",
                    "detail": ["YQ==", "Yg=="],
                    "url": "https://example.com/",
                    "range": [{"start": {"line": 3}, "end": {"line": 3}}],
                }
            ]
        }
    ]


def test_the_place_of_a_warning() -> None:
    place = {"filename": "D", "source": "FROM a", "line": 3, "last_line": 4}

    (line,) = lines(RUN.warning("short", **place))
    (warning,) = json.loads(line)["warnings"]
    assert warning["range"] == [{"start": {"line": at}, "end": {"line": at}} for at in (3, 4)]
    assert warning["sourceInfo"] == {
        "filename": "D",
        "data": "RlJPTSBh",
        "language": "Dockerfile",
    }


def test_no_summary_of_warnings() -> None:
    assert len(lines(RUN.warning("short"))) == 1
