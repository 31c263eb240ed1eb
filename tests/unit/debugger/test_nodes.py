"""Graphs as debuggers see them: our own, and those of daemons, are the same tour."""

from __future__ import annotations

import pytest

from polyarch.buildkit.llb.definition import write_definition
from polyarch.buildkit.llb.sources import Offer
from polyarch.debugger.llb import read_graph
from polyarch.debugger.node import Input, Node
from polyarch.debugger.own import nodes_of, path_of
from polyarch.debugger.tour import Stop, find_failed, tour
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from polyarch.graph.vertex import Vertex
from polyarch.request.make import make_request
from polyarch.serve.llb.definition import read_definition
from tests.support.dockerfiles.lowering import AMD64, IMAGES

TEXT = """\
FROM base AS one
COPY x /x
RUN --mount=type=cache,target=/c --mount=type=bind,from=base,target=/b <<END
echo \\
  long
END
FROM scratch AS two
COPY --link --from=one /x /y
WORKDIR /w
FROM one
COPY --from=two / /two
"""


def lowered() -> Vertex:
    dockerfile = parse(SourceText(name="Dockerfile", text=TEXT))
    return lower(
        dockerfile,
        AMD64,
        options=LowerOptions(build_platform=AMD64),
        maker=GraphMaker(),
        images=IMAGES,
    ).vertex


def lines(stops: tuple[Stop, ...]) -> list[tuple[int, int, bool]]:
    return [
        (each.node.location.line, each.depth, each.is_after)
        for each in stops
        if each.node.location is not None
    ]


def own() -> tuple[Node, Vertex]:
    vertex = lowered()
    return nodes_of([vertex])[vertex.digest], vertex


def far(vertex: Vertex) -> tuple[Node, bytes]:
    data = write_definition(vertex, offer=Offer())
    node = read_graph(data).wanted
    assert node is not None
    return node, data


def test_our_graph_and_that_of_a_daemon_are_the_same_tour() -> None:
    node, vertex = own()
    other, _ = far(vertex)

    assert lines(tour(node)) == [
        (1, 0, False),
        (2, 0, False),
        (3, 0, False),
        (11, 0, False),
        (8, 1, False),
        (9, 1, False),
        (9, 1, True),
        (11, 0, False),
        (11, 0, True),
    ]
    assert lines(tour(other)) == lines(tour(node))
    names = [each.node.name.replace("LINK ", "") for each in tour(node)]
    assert [each.node.name for each in tour(other)] == names


def test_a_program_is_known_with_what_is_mounted() -> None:
    node, vertex = own()
    for found in (node, far(vertex)[0]):
        stop = tour(found)[2]

        assert stop.node.platform == AMD64
        assert stop.node.program is not None
        assert (stop.node.program.argv[0], stop.node.program.cwd) == ("/bin/sh", "/")
        assert [each.label for each in stop.shown][:2] == ["/", "/b"]
        assert stop.root is not None
        assert stop.root.label == "/"


def test_a_part_of_a_daemons_graph_is_a_graph() -> None:
    _, vertex = own()
    node, data = far(vertex)
    graph = read_graph(data)
    run = tour(node)[2].node

    part = read_definition(graph.part(Input(node=run, label="/")))

    assert part.wanted is not None
    assert (part.wanted.op, part.wanted.output) == (run.key, 0)
    assert part.locations.keys() == graph.definition.locations.keys()
    assert graph.is_wanted(Input(node=node, label="/"))
    given = [each.label if each is not None else "" for _, each in graph.mounts(run)]
    assert given[0] == "/"
    assert "/b" in given


def test_failed_steps_are_found_by_their_keys_or_their_places() -> None:
    node, _ = own()
    stops = tour(node)

    assert find_failed(stops, stops[1].node.key, None) == 1
    assert find_failed(stops, "", stops[4].node.location) == 4
    assert find_failed(stops, "", None) is None


@pytest.mark.parametrize(
    ("context", "dockerfile", "path"),
    [
        ("/work", "", "/work/Dockerfile"),
        ("/work", "/else/where", "/else/where"),
        ("/work", "-", "Dockerfile"),
        ("https://example.org/a.git", "", "Dockerfile"),
        ("/work", "https://example.org/Dockerfile", "Dockerfile"),
    ],
)
def test_where_texts_lie(context: str, dockerfile: str, path: str) -> None:
    assert path_of("Dockerfile", make_request(context, dockerfile=dockerfile)) == path
