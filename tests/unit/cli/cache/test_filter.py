from __future__ import annotations

import pytest

from polyarch.cli.cache.filter import parse_filters
from polyarch.errors import InputError
from polyarch.store.snapshots import RecordType, SnapshotRecord
from polyarch.store.usage import Usage

RECORDS = (
    Usage(record=SnapshotRecord(id="step-1", description="RUN apt-get update"), in_use=True),
    Usage(record=SnapshotRecord(id="step-2", description="COPY . .", parents=("step-1", "x"))),
    Usage(
        record=SnapshotRecord(id="cache-1", type=RecordType.CACHE_MOUNT, description="cached"),
        shared=True,
    ),
)


def found(*texts: str) -> list[str]:
    wanted = parse_filters(texts)
    return [entry.record.id for entry in RECORDS if wanted.matches(entry)]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("id=step", ["step-1", "step-2"]),
        ("id!=step-1", ["step-2", "cache-1"]),
        ("id~=1$", ["step-1", "cache-1"]),
        ("ID = step-2", ["step-2"]),
        ("parents=step-1;x", ["step-2"]),
        ("description=COPY . .", ["step-2"]),
        ("description~=apt", ["step-1"]),
        ("type=exec.cachemount", ["cache-1"]),
        ("type!=exec.cachemount", ["step-1", "step-2"]),
        ("inuse=true", ["step-1"]),
        ("inuse=0", ["step-2", "cache-1"]),
        ("inuse=", ["step-1"]),
        ("inuse!=true", ["step-2", "cache-1"]),
        ("mutable=1", ["cache-1"]),
        ("immutable=1", ["step-1", "step-2"]),
        ("shared=true", ["cache-1"]),
        ("private=true", ["step-1", "step-2"]),
        ("", ["step-1", "step-2", "cache-1"]),
    ],
)
def test_one_filter(text: str, ids: list[str]) -> None:
    assert found(text) == ids


def test_filters_are_all_met() -> None:
    assert found("id=step", "inuse=false") == ["step-2"]


@pytest.mark.parametrize("key", ["until", "unused-for"])
def test_age(key: str) -> None:
    wanted = parse_filters([f"{key}=1h30m"])

    assert (wanted.seconds, wanted.conditions, bool(wanted)) == (5400.0, (), True)
    assert not parse_filters([])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["until=x"],
            '"until" filter expects a duration (e.g., \'24h\'): time: invalid duration "x"',
        ),
        (["until=1h", "unused-for=1h"], 'conflicting filters "until" and "unused-for"'),
        (["type=a", "type=b"], "filters expect only one value"),
        (["colour=red"], 'unknown filter "colour"'),
        (["id~=("], '"(" is no regular expression: '),
        (["shared=maybe"], 'the filter shared is true or false, not "maybe"'),
        (["shared~=t"], "the filter shared is true or false"),
    ],
)
def test_wrong_ones_are_told(texts: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_filters(texts)

    assert str(caught.value).startswith(message)
