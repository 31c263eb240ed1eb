"""Policies of clients: what they are asked, and what their answers do."""

from __future__ import annotations

from typing import Any

import pytest

from polyarch.buildkit.messages import read_pairs
from polyarch.digest import Digest, sha256
from polyarch.errors import InputError
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.op import GitOp, HttpOp, ImageOp, LocalOp, MergeOp
from polyarch.oci.config import ImageConfig
from polyarch.platforms import Platform
from polyarch.serve.policies import Policy
from polyarch.wire import Message, field

ARM = Platform(os="linux", architecture="arm64")
ALLOW = b"\x0a\x00"
DENY = field(1, field(1, 1) + field(2, field(1, "not here")))
CONVERT = field(1, field(1, 2))


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
        self.asked.append((name, read_pairs(source, 2), described.bytes(2)))
        answers = self._answers.get(name.partition(":")[0].replace("-", "_"), [])
        return answers.pop(0) if answers else ALLOW


def policy(client: Client) -> Policy:
    def resolve(name: str, platform: Platform) -> tuple[Digest, ImageConfig]:
        return sha256(name.encode()), ImageConfig(platform=platform)

    found: Any = client
    return Policy(client=found, resolve=resolve)


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

    assert client.asked == [
        ("docker-image://docker.io/library/a:1", {}, b""),
        ("local://context", {}, b""),
        ("https://x.test/f", {}, b""),
        ("git://x.test/r.git#main:d", {"git.fullurl": "https://x.test/r.git"}, b""),
        ("git://x.test/o.git#v1", {"git.fullurl": "https://x.test/o.git"}, b""),
        ("https://x.test/a.tar", {}, b""),
    ]


def test_more_is_told_of_images() -> None:
    client = Client(docker_image=[field(2, field(2, b"x")), ALLOW])

    policy(client).check(graph())

    name, _, more = client.asked[1]
    assert (name, Message(more).text(1)) == (client.asked[0][0], sha256(b"docker.io/library/a:1"))
    assert b'"architecture":"arm64"' in Message(more).bytes(2)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"local": [DENY]}, '"local://context" not allowed by policy: action DENY: not here'),
        ({"https": [CONVERT]}, "action CONVERT"),
        ({"git": [field(2, field(2, b"x"))]}, "wants to know more of git://x.test/r.git"),
        ({"docker_image": [field(2, field(6, field(2, 1)))]}, "wants to know more"),
        ({"docker_image": [field(2, field(2, b"x"))] * 2}, "than can be told yet"),
    ],
)
def test_what_is_not_allowed(answers: dict[str, list[bytes]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        policy(Client(**answers)).check(graph())
