"""Values that go to an engine and come back are the same; what isn't one is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyarch.digest import Digest
from polyarch.errors import InternalError
from polyarch.library.codec import decode, encode
from polyarch.library.messages import event_message, read_answer, read_event, result_message
from polyarch.oci.descriptor import Descriptor
from polyarch.platforms import Platform
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent
from polyarch.record import frozen
from polyarch.request.annotation import Annotation
from polyarch.request.explanation import Cause, CauseKind, Explanation, Outcome
from polyarch.request.limits import Ulimit
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, Secret

# File names that are no UTF-8 come as lone surrogates from \udc80 on. The others come from nowhere, and JSON would take
# two of them for one character.
texts = st.text(
    st.characters(max_codepoint=0xD7FF) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    max_size=8,
)
maps = st.dictionaries(texts, texts, max_size=3)
numbers = st.integers(-(2**63), 2**63)
digests = st.integers(0, 2**256 - 1).map(lambda number: Digest(f"sha256:{number:064x}"))
times = st.none() | st.floats(0, 2**40)
platforms = st.builds(
    Platform,
    os=texts,
    architecture=texts,
    variant=texts,
    os_version=texts,
    os_features=st.lists(texts, max_size=2).map(tuple),
)


def tuples(of: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=3).map(tuple)


requests = st.builds(
    BuildRequest,
    context=texts,
    dockerfile=texts,
    stdin=st.binary(max_size=20),
    platforms=tuples(platforms),
    tags=tuples(texts),
    target=texts,
    build_args=maps,
    build_contexts=maps,
    labels=maps,
    outputs=tuples(st.builds(Output, type=texts, destination=texts, attributes=maps)),
    no_cache=st.booleans(),
    no_cache_filter=tuples(texts),
    pull=st.booleans(),
    network=texts,
    add_hosts=tuples(texts),
    shm_size=numbers,
    ulimits=tuples(st.builds(Ulimit, name=texts, soft=numbers, hard=numbers)),
    secrets=tuples(
        st.builds(Secret, id=texts, path=texts, env=texts, value=st.none() | st.binary(max_size=9))
    ),
    ssh=maps,
    annotations=tuples(
        st.builds(Annotation, key=texts, value=texts, level=texts, platform=st.none() | platforms)
    ),
    jobs=numbers,
)
events = st.one_of(
    st.builds(
        StepEvent,
        step=digests,
        name=texts,
        inputs=tuples(digests),
        started=times,
        completed=times,
        cached=st.booleans(),
        error=texts,
    ),
    st.builds(
        StatusEvent,
        step=digests,
        id=texts,
        current=numbers,
        total=numbers,
        started=times,
        completed=times,
    ),
    st.builds(
        LogEvent,
        step=digests,
        stream=st.sampled_from([1, 2]),
        data=st.binary(max_size=40),
        time=st.floats(0, 2**40),
    ),
    st.builds(WarningEvent, step=digests, short=texts, detail=tuples(texts), line=numbers),
)
descriptors = st.builds(
    Descriptor,
    media_type=texts,
    digest=digests,
    size=st.integers(0, 2**60),
    annotations=maps,
    platform=st.none() | platforms,
)
causes = st.builds(
    Cause, kind=st.sampled_from(CauseKind), what=texts, old=texts, new=texts, step=texts
)
explanations = st.builds(
    Explanation,
    step=digests,
    name=texts,
    outcome=st.sampled_from(Outcome),
    number=numbers,
    line=numbers,
    end_line=numbers,
    causes=tuples(causes),
    through=tuples(texts),
)
results = st.builds(
    BuildResult,
    descriptor=st.none() | descriptors,
    config_digest=st.none() | digests,
    names=tuples(texts),
    manifests=st.dictionaries(texts, digests, max_size=3),
    ran=numbers,
    cached=numbers,
    explanations=tuples(explanations),
)


# Large records, on machines that may be busy.
patiently = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def travelled(message: object) -> dict[str, object]:
    received = json.loads(json.dumps(message).encode("ascii"))
    assert isinstance(received, dict)
    return received


@patiently
@given(requests)
def test_a_request_arrives_as_it_was_sent(request: BuildRequest) -> None:
    assert decode(BuildRequest, travelled(encode(request))) == request


@patiently
@given(events)
def test_an_event_arrives_as_it_was_sent(event: Event) -> None:
    received = read_event(travelled(event_message(event)))

    assert received == event
    assert type(received) is type(event)


@patiently
@given(results)
def test_a_result_arrives_as_it_was_sent(result: BuildResult) -> None:
    assert read_answer(travelled(result_message(result))) == result


def test_an_answer_is_no_event() -> None:
    assert read_event(result_message(BuildResult())) is None


@frozen
class Point:
    x: int
    y: float
    data: bytes = b""
    pair: tuple[int, str] = (0, "")


PLAIN = {"x": 1, "y": 2.5, "data": "", "pair": [0, ""]}


def test_a_whole_number_is_a_time() -> None:
    assert decode(Point, {**PLAIN, "y": 2}) == Point(x=1, y=2)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ([], "a message holds a list instead of a dict"),
        ({**PLAIN, "x": "1"}, "a message holds a str instead of a int"),
        ({**PLAIN, "x": True}, "a message holds a bool instead of a int"),
        ({**PLAIN, "x": 1.0}, "a message holds a float instead of a int"),
        ({**PLAIN, "x": None}, "a message holds a NoneType instead of a int"),
        ({**PLAIN, "y": True}, "a message holds a bool instead of a float"),
        ({**PLAIN, "data": "!"}, "a message holds bytes that are no base64"),
        ({**PLAIN, "data": "é"}, "a message holds bytes that are no base64"),
        ({**PLAIN, "pair": [1]}, "a message holds 1 values instead of 2"),
        ({**PLAIN, "z": 1}, "a message doesn't hold the fields of a Point: z"),
        ({"x": 1, "y": 1}, "a message doesn't hold the fields of a Point: data, pair"),
    ],
)
def test_what_doesnt_fit_is_refused(data: object, complaint: str) -> None:
    with pytest.raises(InternalError) as caught:
        decode(Point, data)

    assert str(caught.value) == complaint


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(InternalError, match="unknown event: Gossip"):
        read_event({"event": "Gossip", "of": {}})
