"""Graphs as LLB, and back by the reader of `polyarch serve`: nothing of them may be lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.buildkit.llb.definition import write_definition
from polyarch.buildkit.llb.sources import Offer
from polyarch.digest import Digest, sha256
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.errors import InputError
from polyarch.graph.graph import GraphMaker, walk
from polyarch.graph.location import SourceText
from polyarch.graph.op import (
    BindMount,
    DiffOp,
    ExecOp,
    FileOp,
    GitOp,
    ImageOp,
    LocalOp,
    MergeOp,
    MkfileAction,
    OutputOp,
    ScratchOp,
)
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.oci.base import BaseImage
from polyarch.platforms import Platform
from polyarch.serve.llb.definition import read_definition
from polyarch.serve.llb.execs import ExecReader
from polyarch.serve.llb.graphs import Lowering
from polyarch.wire import Message
from tests.support.dockerfiles.lowering import AMD64, IMAGES, PATH
from tools.graphs import CASES, lowered_of

HOST = frozenset({"network.host", "security.insecure"})


class Pinned:
    """Images by the names that they are pinned to, as they were resolved before."""

    def __init__(self, graph: Vertex) -> None:
        self._images = {
            (vertex.op.digest, vertex.op.platform): vertex.op
            for vertex in walk((graph,))
            if isinstance(vertex.op, ImageOp)
        }

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        op = self._images[Digest(reference.partition("@")[2]), platform]
        config = IMAGES.resolve("base", platform).config
        return BaseImage(reference=op.reference, digest=op.digest, config=config)


def read(definition: bytes, graph: Vertex) -> Vertex:
    return Lowering(
        definition=read_definition(definition),
        maker=GraphMaker(),
        images=Pinned(graph),
        bring_layout=lambda address, store: f"oci-layout:///here/{store}",
        bring_result=lambda ref: ref,
        execs=ExecReader(allow=HOST, grant=lambda wishes: tuple(name for name, _ in wishes)),
    ).lower()


def plain(vertex: Vertex) -> Vertex:
    """Return a graph with directories called as they were: the reader's names tell what of them is wanted, too."""
    op = vertex.op
    if isinstance(op, LocalOp):
        op = LocalOp(name=op.name.partition("@")[0])
    return make_vertex(
        op,
        tuple(map(plain, vertex.inputs)),
        name=vertex.name,
        location=vertex.location,
        ignore_cache=vertex.ignore_cache,
    )


def ops(definition: bytes) -> list[bytes]:
    return Message(definition).all(1)


def lowered(text: str) -> Vertex:
    dockerfile = parse(SourceText(name="Dockerfile", text=text))
    options = LowerOptions(build_platform=AMD64)
    return lower(dockerfile, AMD64, options=options, maker=GraphMaker(), images=IMAGES).vertex


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_what_is_read_is_written_the_same(case: Path) -> None:
    for each in lowered_of(case):
        written = write_definition(each.vertex, offer=Offer())

        found = plain(read(written, each.vertex))

        assert ops(write_definition(found, offer=Offer())) == ops(written)
        assert names(found) >= {
            vertex.name
            for vertex in walk((each.vertex,))
            if vertex.name and not isinstance(vertex.op, MergeOp | ScratchOp)
        }


def names(graph: Vertex) -> set[str]:
    return {vertex.name for vertex in walk((graph,))}


def test_an_empty_tree_is_nothing() -> None:
    assert write_definition(lowered("FROM scratch\nLABEL a=b\n"), offer=Offer()) == b""


def test_outputs_and_differences() -> None:
    maker = GraphMaker()
    below = maker.add(ScratchOp())
    base = maker.add(
        FileOp(actions=(MkfileAction(path="/f", name="f", data="x", is_exact=True),)), (below,)
    )
    mounts = (BindMount(target="/out", input=1, read_only=False, output=1),)
    ran = maker.add(
        ExecOp(argv=("make",), env=(PATH,), cwd="/", user="", platform=AMD64, mounts=mounts),
        (base, base),
    )
    target = maker.add(DiffOp(), (base, maker.add(OutputOp(number=1), (ran,))))

    written = write_definition(target, offer=Offer())

    found = read(written, target)
    assert isinstance(found.op, DiffOp)
    assert isinstance(found.inputs[1].op, OutputOp)
    assert ops(write_definition(plain(found), offer=Offer())) == ops(written)


def test_a_step_is_told_where_its_agent_listens() -> None:
    usual = lowered("FROM base\nRUN --mount=type=ssh --mount=type=ssh,id=b make\n")
    own = lowered("FROM base\nENV SSH_AUTH_SOCK=/mine\nRUN --mount=type=ssh make\n")

    told = [read(write_definition(each, offer=Offer()), each).op for each in (usual, own)]

    sockets = [
        [each for each in op.env if each.startswith("SSH_AUTH_SOCK=")]
        for op in told
        if isinstance(op, ExecOp)
    ]
    assert sockets == [["SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"], ["SSH_AUTH_SOCK=/mine"]]


def test_what_a_daemon_does_not_know_of_is_told_with_its_place() -> None:
    graph = lowered("FROM base\nCOPY a /\nCOPY --exclude=b . /\n")

    with pytest.raises(InputError, match=r"doesn't know of file\.copy\.includeexclude") as caught:
        write_definition(graph, offer=Offer(), known=frozenset({"mergeop"}))

    assert caught.value.place is not None
    assert caught.value.place.line == 3


def test_modes_in_letters_want_a_daemon_that_came_no_earlier() -> None:
    graph = lowered("FROM base\nCOPY --chmod=u=rw a /\n")

    assert write_definition(graph, offer=Offer(), known=frozenset({"exec.meta.cdi"}))
    with pytest.raises(InputError, match="modestring"):
        write_definition(graph, offer=Offer(), known=frozenset({"mergeop"}))


def test_a_daemon_without_merges_copies() -> None:
    graph = lowered("FROM base\nCOPY --link a /\n")

    written = write_definition(graph, offer=Offer(), known=frozenset({"file.base"}))

    found = plain(read(written, graph))
    assert isinstance(found.op, FileOp)
    assert isinstance(found.inputs[0].op, ImageOp)
    assert isinstance(read(write_definition(graph, offer=Offer()), graph).op, MergeOp)


def test_of_one_tree_there_is_nothing_to_merge() -> None:
    graph, maker = lowered("FROM base\nCOPY a /\n"), GraphMaker()

    alone = maker.add(MergeOp(), (maker.add(ScratchOp()), graph))

    assert write_definition(alone, offer=Offer()) == write_definition(graph, offer=Offer())


def test_contexts_are_as_little_as_is_read_or_commits() -> None:
    graph = lowered("FROM scratch\nCOPY a /\nADD https://git.test/p.git#main:d /g/\n")
    commit = GitOp(remote="https://git.test/context.git", ref="main", checksum="c0ffee")

    written = write_definition(
        graph, offer=Offer(excludes={"context": ("*.log", "!a.log")}, reads={"context": ("a",)})
    )
    fetched = write_definition(graph, offer=Offer(commits={"context": commit}))

    assert b'["*.log","!a.log"]' in written
    assert b'["a"]' in written
    kinds = [type(vertex.op) for vertex in walk((read(fetched, graph),))]
    assert LocalOp not in kinds
    assert kinds.count(GitOp) == 2


def test_images_of_layouts_are_read_over_the_session() -> None:
    address = "oci-layout:///layouts/one"
    graph = GraphMaker().add(
        ImageOp(reference=address, digest=sha256(b"1"), platform=AMD64, diff_ids=())
    )

    written = write_definition(graph, offer=Offer(stores={address: "st0re"}))

    assert b"st0re" in written
    assert f"docker.io/library/layout@{sha256(b'1')}".encode() in written


def test_places_and_the_text_that_they_are_in() -> None:
    graph = lowered("FROM base\nCOPY a /\n\nRUN make\n")

    written = write_definition(graph, offer=Offer())

    places = read_definition(written).locations
    assert sorted(each.line for each in places.values()) == [1, 2, 4]
    assert {each.source.text for each in places.values()} == {"FROM base\nCOPY a /\n\nRUN make\n"}
