"""Policies of clients: what they are asked, and what their answers do."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from polyarch.buildkit.messages import read_pairs
from polyarch.digest import Digest, sha256
from polyarch.errors import InputError
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.op import GitOp, HttpOp, ImageOp, LocalOp, MergeOp
from polyarch.oci.config import ImageConfig
from polyarch.platforms import Platform
from polyarch.progress import CancelToken
from polyarch.serve.calls import Detailed, error_of
from polyarch.serve.metadata import AskedSource, source_metadata
from polyarch.serve.policies import Policy
from polyarch.wire import Message, field
from polyarch.worker.source_git import GitRef
from polyarch.worker.source_http import HttpFile

ARM = Platform(os="linux", architecture="arm64")
ALLOW = b"\x0a\x00"
DENY = field(1, field(1, 1) + field(2, field(1, "not here")))
CONVERT = field(1, field(1, 2))


class Known:
    """Knows every image, and what is at every address."""

    def __init__(self) -> None:
        self.remote = self
        self.pins: dict[str, str] = {}

    def image(self, name: str, platform: Platform, *, pull: bool) -> tuple[Digest, ImageConfig]:
        del pull
        return sha256(name.encode()), ImageConfig(platform=platform)

    def pin(self, url: str, digest: Digest) -> None:
        self.pins[url] = digest

    def look(self, op: GitOp, cancel: CancelToken, *, objects: bool) -> GitRef:
        del cancel
        told = b"commit" if objects else b""
        return GitRef(name=f"refs/heads/{op.ref}", digest="a" * 40, commit_object=told)

    def file(self, op: HttpOp, cancel: CancelToken) -> HttpFile:
        del cancel
        place = Path(op.filename)
        return HttpFile(directory=place, path=place, modified=7, digest=sha256(op.url.encode()))


class Client:
    """Answers each question by a table of identifiers, else allows it."""

    def __init__(self, **answers: list[bytes]) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self._answers = answers

    def ask(self, path: str, message: bytes) -> bytes:
        assert path.endswith("PolicyVerifier/CheckPolicy")
        described = Message(Message(message).bytes(2))
        source = Message(described.bytes(1))
        name = source.text(1)
        more = next((told for each in (2, 3, 4) if (told := described.bytes(each))), b"")
        self.asked.append((name, read_pairs(source, 2), more))
        answers = self._answers.get(name.partition(":")[0].replace("-", "_"), [])
        return answers.pop(0) if answers else ALLOW


def policy(client: Client) -> Policy:
    found: Any = client
    known: Any = Known()
    return Policy(client=found, tell=lambda asked: source_metadata(asked, known, CancelToken()))


def graph() -> Graph:
    maker = GraphMaker()
    image = ImageOp(
        reference="docker.io/library/a:1", digest=sha256(b""), platform=ARM, diff_ids=()
    )
    ops = (
        image,
        LocalOp(name="context"),
        HttpOp(url="https://x.test/f", filename="f"),
        GitOp(remote="https://x.test/r.git", ref="main", subdir="d"),
    )
    merged = maker.add(MergeOp(), tuple(maker.add(each) for each in ops))
    return Graph(targets=(merged,))


def test_all_sources_are_asked_about() -> None:
    client = Client()

    policy(client).check(graph())
    policy(client).check_address("https://x.test/o.git#v1")
    policy(client).check_address("https://x.test/a.tar")

    # Those of a graph are asked about at once.
    assert sorted(client.asked[:4]) == [
        ("docker-image://docker.io/library/a:1", {}, b""),
        ("git://x.test/r.git#main:d", {"git.fullurl": "https://x.test/r.git"}, b""),
        ("https://x.test/f", {}, b""),
        ("local://context", {}, b""),
    ]
    assert client.asked[4:] == [
        ("git://x.test/o.git#v1", {"git.fullurl": "https://x.test/o.git"}, b""),
        ("https://x.test/a.tar", {}, b""),
    ]


def test_a_policy_may_wait_for_one_source_before_it_allows_another() -> None:
    both = threading.Barrier(2, timeout=30)

    class Waiting(Client):
        def ask(self, path: str, message: bytes) -> bytes:
            both.wait()
            return super().ask(path, message)

    told = dict[str, str]()
    image, file = ("docker-image://a", told, ARM), ("https://x.test/f", told, ARM)
    found = policy(Waiting(docker_image=[DENY]))

    found.foresee([image, file])

    assert found.replaced(*file) == ("https://x.test/f", {})
    with pytest.raises(InputError, match="not allowed by policy: action DENY: not here"):
        found.replaced(*image)


def test_more_is_told_of_images() -> None:
    client = Client(docker_image=[field(2, field(2, b"x")), ALLOW])

    policy(client).check(graph())

    ((name, _, more),) = (each for each in client.asked if each[2])
    assert name == "docker-image://docker.io/library/a:1"
    assert Message(more).text(1) == sha256(b"docker.io/library/a:1")
    assert b'"architecture":"arm64"' in Message(more).bytes(2)


def test_more_is_told_of_commits_and_files() -> None:
    wanted = field(2, field(5, field(1, 1)) + field(2, b"x"))
    client = Client(git=[wanted, ALLOW], https=[wanted, ALLOW])

    policy(client).check(graph())

    told = {name.partition(":")[0]: Message(told) for name, _, told in client.asked if told}
    file, commit = told["https"], told["git"]
    assert (file.text(1), file.text(2)) == (sha256(b"https://x.test/f"), "f")
    assert file.time(3) == 7
    assert (commit.text(1), commit.text(2)) == ("a" * 40, "refs/heads/main")
    assert commit.bytes(4) == b"commit"


def test_a_source_that_the_client_asks_about() -> None:
    client = Client(docker_image=[DENY])
    message = Message(field(1, field(1, "docker-image://docker.io/library/a:1")))

    with pytest.raises(InputError, match="not allowed by policy"):
        policy(client).check_source(AskedSource(message=message))


def test_a_source_of_a_graph_that_is_replaced() -> None:
    name = "docker-image://docker.io/library/"
    convert = field(1, field(1, 2) + field(3, field(1, f"{name}b:1")))
    client = Client(docker_image=[convert, ALLOW])

    found = policy(client).replaced(f"{name}a:1", {"image.layerlimit": "1"}, ARM)

    assert found == (f"{name}b:1", {"image.layerlimit": "1"})
    assert [asked for asked, _, _ in client.asked] == [f"{name}a:1", f"{name}b:1"]


def test_the_words_of_a_policy_are_details() -> None:
    with pytest.raises(Detailed) as caught:
        policy(Client(local=[DENY])).replaced("local://context", {}, ARM)

    told = Message(Message(error_of(caught.value).details).bytes(3))
    assert told.text(1).endswith("policysession.DecisionResponse+json")
    assert json.loads(told.bytes(2))["denyMessages"] == [{"message": "not here"}]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"local": [DENY]}, '"local://context" not allowed by policy: action DENY: not here'),
        ({"https": [CONVERT]}, "action CONVERT"),
        ({"local": [field(2, field(2, b"x"))]}, "nothing can be told of sources like local"),
        ({"docker_image": [field(2, field(6, field(2, 1)))]}, "attestations of images can't"),
        ({"docker_image": [field(2, field(2, b"x"))] * 2}, "than can be told yet"),
    ],
)
def test_what_is_not_allowed(answers: dict[str, list[bytes]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        policy(Client(**answers)).check(graph())
