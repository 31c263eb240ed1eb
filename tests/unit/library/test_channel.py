from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from polyarch.errors import InternalError
from polyarch.library.channel import Channel, channel_pair


def test_messages_arrive_whole_and_in_order() -> None:
    ours, theirs = channel_pair()
    messages: list[dict[str, object]] = [{"a": "x" * 3_000_000}, {}, {"b": "\udcff"}]

    def send() -> None:
        for each in messages:
            ours.send(each)

    sender = threading.Thread(target=send)

    with ours, theirs:
        sender.start()
        received = [theirs.receive() for _ in messages]
        sender.join()
        ours.end()

        assert received == messages
        assert theirs.receive() is None


def test_a_message_that_breaks_off_is_none() -> None:
    ours, theirs = channel_pair()
    with theirs:
        with ours:
            ours._socket.sendall(b"\x00\x00\x00\x09{")
        assert theirs.receive() is None


@pytest.mark.parametrize(
    ("data", "complaint"), [(b"{", "a message is no JSON"), (b"[]", "a message is a list")]
)
def test_what_is_no_message_is_refused(data: bytes, complaint: str) -> None:
    ours, theirs = channel_pair()
    with ours, theirs:
        ours._socket.sendall(bytes([0, 0, 0, len(data)]) + data)
        with pytest.raises(InternalError, match=complaint):
            theirs.receive()


def test_a_channel_is_handed_over() -> None:
    ours, theirs = channel_pair()
    with ours, theirs:
        near, far = channel_pair()
        ours.hand_over(far)
        taken = theirs.take_over()
        assert isinstance(taken, Channel)
        with near, taken:
            taken.send({"hello": 1})
            assert near.receive() == {"hello": 1}
        ours.end()
        assert theirs.take_over() is None


def test_who_is_gone_is_told_as_the_end() -> None:
    ours, theirs = channel_pair()
    with ours:
        ours.send({"never": "read"})
        theirs.close()
        assert ours.receive() is None
        with pytest.raises(BrokenPipeError):
            ours.send({})


def test_stop_wakes_up_who_waits() -> None:
    ours, theirs = channel_pair()
    received: list[object] = []
    waiter = threading.Thread(target=lambda: received.append(ours.receive()))
    with ours, theirs:
        waiter.start()
        ours.stop()
        waiter.join(10)
        assert received == [None]


def test_ending_a_closed_channel_does_nothing() -> None:
    ours, theirs = channel_pair()
    ours.close()
    theirs.close()
    ours.end()
    ours.stop()

    assert ours.fileno() == -1


def test_what_is_drained_may_be_half_a_message() -> None:
    ours, theirs = channel_pair()
    with ours:
        with theirs:
            theirs._socket.sendall(b"\xff\xff\xff\xff{")
        ours.drain()

        assert ours.receive() is None


def test_a_signal_that_interrupts_no_waiting_is_heeded() -> None:
    main = threading.main_thread()
    where = Path(f"/proc/self/task/{main.native_id}/wchan")
    ours, theirs = channel_pair()
    is_over = threading.Event()
    heeded = []

    def interrupt() -> None:
        while (place := where.read_text()) == "0" or place.startswith("futex"):
            pass  # the main thread works, or waits for the interpreter
        # As if it had come just before: the interpreter notes it, and the kernel interrupts nothing.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        heeded.append(is_over.wait(10))
        theirs.close()

    helper = threading.Thread(target=interrupt)
    with ours, theirs:
        try:
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 the thread is part of it
                helper.start()
                ours.receive()
        finally:
            is_over.set()
            helper.join()
    assert heeded == [True]
