"""What frontends attest: read from the trees that they name, in the order in which it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyarch.attest.given import Given, check_given, in_order, predicates_of
from polyarch.attest.statement import SPDX, Named, Subject
from polyarch.digest import sha256
from polyarch.errors import InputError

KIND = "https://example.com/attestation"


def statement(root: Path, name: str, **told: object) -> None:
    (root / "bundle").mkdir(exist_ok=True)
    (root / "bundle" / name).write_text(json.dumps({"predicateType": KIND, **told}))


def test_a_file_is_said_of_the_result_and_of_what_the_frontend_names(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"ok": true}')
    own = Subject(name="pkg:docker/app", digest=sha256(b"image"))
    raw = {"sha256": "00ff"}
    given = Given(
        path="/a.json", type=KIND, subjects=(Named(name="more"), Named(name="x", digests=raw))
    )

    (found,) = predicates_of(tmp_path, given)
    said = json.loads(found.statement((own,)))

    assert said["predicate"] == {"ok": True}
    assert [each["name"] for each in said["subject"]] == ["pkg:docker/app", "more", "x"]
    assert said["subject"][2]["digest"] == raw
    assert said["subject"][1]["digest"] == said["subject"][0]["digest"]


def test_a_bundle_is_each_of_its_statements(tmp_path: Path) -> None:
    statement(tmp_path, "b.json", predicate={"n": 2})
    statement(
        tmp_path, "a.json", predicate={"n": 1}, subject=[{"name": "f", "digest": {"md5": "1"}}]
    )

    found = predicates_of(tmp_path, Given(path="/bundle", is_bundle=True))

    assert [each.content for each in found] == [{"n": 1}, {"n": 2}]
    assert found[0].subjects == (Named(name="f", digests={"md5": "1"}),)


def test_the_main_list_of_software_comes_first(tmp_path: Path) -> None:
    for name in ("extra.json", "sbom.spdx.json"):
        (tmp_path / name).write_text("{}")
    given = [Given(path=name, type=SPDX, core="sbom") for name in ("extra.json", "sbom.spdx.json")]

    told = in_order((each, one) for each in given for one in predicates_of(tmp_path, each))

    assert [each.filename for each in told] == ["sbom.spdx.json", "extra.json"]


@pytest.mark.parametrize(
    ("given", "has_tree", "words"),
    [
        (Given(path=""), True, "does not have set path"),
        (Given(path="/a"), False, "does not have available content"),
        (Given(path="/a", type="https://slsa.dev/provenance/v1"), True, "may not set provenance"),
    ],
)
def test_what_cannot_be_attested_is_refused(given: Given, has_tree: bool, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_given(given, has_tree=has_tree)


def test_statements_of_others_are_not_trusted(tmp_path: Path) -> None:
    statement(tmp_path, "a.json", predicate={})
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    bundle = Given(path="/bundle", is_bundle=True, type=SPDX)

    with pytest.raises(InputError, match="does not match required predicate type"):
        predicates_of(tmp_path, bundle)
    statement(tmp_path, "a.json", predicate={}, predicateType="https://slsa.dev/provenance/v1")
    with pytest.raises(InputError, match="may not bundle provenance"):
        predicates_of(tmp_path, Given(path="/bundle", is_bundle=True))
    (tmp_path / "bundle" / "a.json").write_text("[]")
    with pytest.raises(InputError, match="cannot decode in-toto statement"):
        predicates_of(tmp_path, Given(path="/bundle", is_bundle=True))
    for name in ("link.json", "none.json"):
        with pytest.raises(InputError, match="cannot read in-toto attestation"):
            predicates_of(tmp_path, Given(path=name, type=KIND))
    with pytest.raises(InputError, match="bundle isn't there"):
        predicates_of(tmp_path, Given(path="/nothing", is_bundle=True))
