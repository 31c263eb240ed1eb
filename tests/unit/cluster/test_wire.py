"""Tasks as they travel: nothing that a scheduler would have to know, or could show."""

from __future__ import annotations

import json
import pickle

import pytest

from polyarch.cluster import call
from polyarch.cluster.call import Call
from polyarch.cluster.carrying import TooLarge, read_archive, send_whole
from polyarch.cluster.onworker import read_task
from polyarch.cluster.wire import Sent, Task
from polyarch.errors import InputError, IntegrityError
from polyarch.layer.tar import Sink
from polyarch.layer.tarread import Source
from polyarch.library.codec import encode
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.release import RELEASE
from polyarch.request.values import BuildRequest, Secret


def task() -> Task:
    secret = Secret(id="k", value=b"s3cr3t")
    request = BuildRequest(context="-", secrets=(secret,), stdin=b"FROM scratch")
    return Task(part="linux/arm64", topic="t", version=RELEASE, request=request, auths="s3cr3t")


def test_a_call_becomes_one_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "run_task", _show)

    data = Call("text", 2).to_bytes()

    assert pickle.loads(data, buffers=[b"one", b"two"]) == ("text", b"one", b"two")


def _show(*words: object) -> tuple[object, ...]:
    return words


def test_a_task_can_be_read_and_hides_what_is_secret() -> None:
    assert read_task(json.dumps(encode(task()))) == task()
    assert "s3cr3t" not in repr(task())


def test_a_task_of_another_version_says_so() -> None:
    other = replace(task(), version="v0.0")

    with pytest.raises(InputError, match=rf"has polyarch {RELEASE}, and the build is of v0\.0"):
        read_task(json.dumps(encode(other)))


def read(sent: Sent, data: bytes) -> bytes:
    found: list[bytes] = []

    def take(source: Source) -> None:
        found.append(source.read(1 << 20))

    read_archive(sent, data, take, environ={}, cancel=CancelToken())
    return found[0]


def test_an_archive_goes_along_and_is_checked() -> None:
    def produce(sink: Sink) -> None:
        sink.write(b"archive" * 100)

    sent, data = send_whole(produce, "the directory")

    assert read(sent, data) == b"archive" * 100
    with pytest.raises(IntegrityError):
        read(replace(sent, digest=send_whole(lambda sink: sink.write(b"o"), "x")[0].digest), data)


def test_an_archive_that_is_too_large_is_named() -> None:
    with pytest.raises(TooLarge, match="the directory /x has more than 1 MiB"):
        send_whole(lambda sink: sink.write(bytes((1 << 20) + 1)), "the directory /x", 1 << 20)
