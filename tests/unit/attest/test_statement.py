"""Statements as in-toto has them: checked against its specification."""

from __future__ import annotations

import json

import pytest

from polyarch.attest import statement
from polyarch.attest.statement import Predicate, Subject, image_subjects
from polyarch.digest import sha256
from polyarch.errors import InputError
from polyarch.oci.reference import parse
from polyarch.platforms import linux

DIGEST = sha256(b"image")


def test_a_statement_says_something_of_each_name() -> None:
    names = (parse("example.test/app:1"), parse("app"))
    predicate = Predicate(type="https://x.test/v1", content={"a": "<b>"}, filename="x.json")

    data = predicate.statement(image_subjects(names, DIGEST, linux("amd64")))

    hexadecimal = DIGEST.removeprefix("sha256:")
    assert json.loads(data) == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://x.test/v1",
        "subject": [
            {
                "name": f"pkg:docker/{name}?platform=linux%2Famd64",
                "digest": {"sha256": hexadecimal},
            }
            for name in ("example.test/app@1", "app@latest")
        ],
        "predicate": {"a": "<b>"},
    }
    assert b"\\u003cb\\u003e" in data  # as Go writes it
    assert b"\n" not in data


def test_a_file_of_one_is_for_people() -> None:
    predicate = Predicate(type="t", content={}, filename="x.json")

    data = predicate.statement([Subject(name="bin/app", digest=DIGEST)], is_file=True)

    assert data.startswith(b'{\n  "_type"')


def test_one_that_nobody_takes_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "_LARGEST", 100)
    predicate = Predicate(type="t", content={"a": "b" * 100}, filename="sbom.spdx.json")

    with pytest.raises(InputError, match=r"sbom\.spdx\.json exceeds 100 bytes"):
        predicate.statement([])
