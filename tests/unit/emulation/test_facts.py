from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from polyarch.emulation.facts import Facts, stamp


class Question:
    """Answers, and counts how often it was asked."""

    def __init__(self, answer: int = 1) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.answer


def test_a_fact_is_found_out_once(tmp_path: Path) -> None:
    question = Question(3)
    facts = Facts(tmp_path / "new")

    assert [facts.get("a", question), facts.get("a", question)] == [3, 3]
    assert Facts(tmp_path / "new").get("a", question) == 3
    assert question.asked == 1


@pytest.mark.parametrize("answer", [0, 5])
def test_a_falsy_fact_is_kept_as_well(tmp_path: Path, answer: int) -> None:
    question = Question(answer)
    Facts(tmp_path).get("a", question)

    assert Facts(tmp_path).get("a", question) == answer
    assert question.asked == 1


def test_no_is_a_fact(tmp_path: Path) -> None:
    assert Facts(tmp_path).get("works", lambda: False) is False

    assert Facts(tmp_path).get("works", lambda: True) is False


def test_facts_of_different_keys_are_apart(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.get("a", lambda: "one")
    facts.get("b", lambda: ["two", "three"])

    assert Facts(tmp_path).get("a", lambda: "") == "one"
    assert Facts(tmp_path).get("b", list[str]) == ["two", "three"]


def test_facts_of_another_kernel_do_not_count(tmp_path: Path) -> None:
    Facts(tmp_path).get("a", lambda: 1)
    text = (tmp_path / "facts.json").read_text()
    (tmp_path / "facts.json").write_text(text.replace(os.uname().release, "0.0"))

    assert Facts(tmp_path).get("a", lambda: 2) == 2
    assert sorted(json.loads((tmp_path / "facts.json").read_text())) == sorted(
        ["0.0 a", f"{os.uname().release} a"]
    )


def test_what_is_not_to_be_kept_is_asked_again(tmp_path: Path) -> None:
    question = Question(0)
    facts = Facts(tmp_path)

    for _ in range(2):
        facts.get("a", question, keep=bool)

    assert question.asked == 2
    assert not (tmp_path / "facts.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\udcff"])
def test_a_damaged_file_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "facts.json").write_bytes(text.encode(errors="surrogateescape"))

    assert Facts(tmp_path).get("a", lambda: 1) == 1
    assert Facts(tmp_path).get("a", lambda: 2) == 1
    assert os.listdir(tmp_path) == ["facts.json"]


def test_facts_without_a_directory_are_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for facts in (Facts(None), Facts(tmp_path / "file")):
        question = Question()

        assert [facts.get("a", question), facts.get("a", question)] == [1, 1]
        assert question.asked == 1


def test_threads_may_ask_at_once(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    threads = [
        threading.Thread(target=facts.get, args=(f"{number}", Question(number)))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(json.loads((tmp_path / "facts.json").read_text())) == 8


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "program"
    stamps = [stamp(str(file))]
    for text in ("one", "another"):
        file.write_text(text)
        stamps.append(stamp(str(file)))
    os.utime(file, ns=(1, 1))
    stamps.append(stamp(str(file)))
    (tmp_path / "new").write_text("another")
    os.utime(tmp_path / "new", ns=(1, 1))
    (tmp_path / "new").replace(file)
    stamps.append(stamp(str(file)))

    assert stamps[0] == ""
    assert len(set(stamps)) == 5


def test_what_is_put_is_found_until_it_is_forgotten(tmp_path: Path) -> None:
    facts = Facts(tmp_path)
    facts.put("rung", "max")
    known = Facts(tmp_path).find("rung")
    facts.put("rung", "")

    assert (known, Facts(tmp_path).find("rung"), facts.find("other")) == ("max", None, None)
