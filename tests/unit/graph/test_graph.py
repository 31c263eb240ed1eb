"""Graphs: equal work is one vertex, in an order in which it can be done."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import sha256
from polyarch.graph.graph import Graph, GraphMaker, walk
from polyarch.graph.location import Location, SourceText
from polyarch.graph.op import CopyAction, ExecOp, FileOp, ImageOp, LocalOp, ScratchOp
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.platforms import Platform, linux
from tests.support.fakes.solving import Bench

PLATFORMS = tuple(linux(architecture) for architecture in ("amd64", "arm64"))


def run(argv: str, platform: Platform) -> ExecOp:
    return ExecOp(argv=(argv,), env=(), cwd="/", user="", platform=platform)


def copy(index: int = 1) -> FileOp:
    action = CopyAction(input=index, sources=("hello",), destination="/")
    return FileOp(actions=(action,))


def build(maker: GraphMaker, platform: Platform, build_platform: Platform) -> Vertex:
    """A cross build: compile on the build platform, copy into a base of the target platform."""
    tools = maker.add(
        ImageOp(reference="go", digest=sha256(b"go"), platform=build_platform, diff_ids=())
    )
    sources = maker.add(LocalOp(name="context"))
    tree = maker.add(copy(), (tools, sources))
    compiled = maker.add(run("go build", build_platform), (tree,), name=f"[{platform}] compile")
    digest = sha256(str(platform).encode())
    base = maker.add(ImageOp(reference="base", digest=digest, platform=platform, diff_ids=()))
    return maker.add(copy(), (base, compiled))


def test_platforms_share_equal_work() -> None:
    maker = GraphMaker()
    one, other = (build(maker, platform, PLATFORMS[0]) for platform in PLATFORMS)

    assert one.inputs[1] is other.inputs[1]
    assert other.inputs[1].name == "[linux/amd64] compile"
    # tools, context, copy, compile once; base and last copy for each platform
    assert len(list(Graph(targets=(one, other)).vertices())) == 4 + 2 * 2


def test_work_on_another_platform_is_other_work() -> None:
    maker = GraphMaker()
    one, other = (build(maker, platform, platform) for platform in PLATFORMS)
    shared = set(walk([one])) & set(walk([other]))

    assert [type(vertex.op) for vertex in shared] == [LocalOp]


def test_what_is_seen_is_not_in_the_digest() -> None:
    place = Location(source=SourceText(name="Dockerfile", text="RUN x"), start=1, end=1)
    plain = make_vertex(run("x", PLATFORMS[0]))
    shown = make_vertex(
        run("x", PLATFORMS[0]),
        name="[1/2] RUN x",
        location=place,
        platform_name="linux/arm64",
        ignore_cache=True,
    )

    assert (shown.digest, shown.cache_digest) == (plain.digest, plain.cache_digest)
    assert shown == plain
    assert hash(shown) == hash(plain)
    assert plain != plain.digest


def test_inputs_are_in_the_digest_but_not_in_the_cache_digest() -> None:
    one, other = (make_vertex(LocalOp(name=name)) for name in ("a", "b"))
    base = make_vertex(ScratchOp())

    vertices = [make_vertex(copy(), inputs) for inputs in ((base, one), (base, other), (one, base))]

    assert len({vertex.digest for vertex in vertices}) == 3
    assert len({vertex.cache_digest for vertex in vertices}) == 1


def test_digests_are_of_these_very_bytes() -> None:
    """Records on people's disks go by these: after a change none of them is found again."""
    base = make_vertex(ScratchOp())
    vertex = make_vertex(run("make", PLATFORMS[1]), (base,))
    op = (
        '{"argv":["make"],"cgroup_parent":"","cwd":"/","env":[],"extra_hosts":[],"hostname":"",'
        '"mounts":[],"network":"default","platform":{"architecture":"arm64","os":"linux",'
        '"os_features":[],"os_version":"","variant":""},%s"scripts":[],"security":"sandbox",'
        '"shm_size":0,"type":"exec","ulimits":[],"user":""}'
    )

    assert base.digest == sha256(b'{"inputs":[],"op":{"type":"scratch"}}')
    whole = op % '"proxy_env":[],'
    assert vertex.digest == sha256(f'{{"inputs":["{base.digest}"],"op":{whole}}}'.encode())
    assert vertex.cache_digest == sha256((op % "").encode())


def test_ignoring_the_cache_is_not_mixed_up() -> None:
    maker = GraphMaker()
    fresh = maker.add(ScratchOp(), ignore_cache=True)
    cached = maker.add(ScratchOp())

    above = [maker.add(run("x", PLATFORMS[0]), (base,)) for base in (fresh, cached, fresh)]

    assert fresh is not cached
    assert above[0] is above[2]
    assert above[0].inputs[0] is fresh
    assert above[1].inputs[0] is cached


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    bench = Bench()
    vertices = [bench.image("base"), bench.local()]
    for number in range(draw(st.integers(0, 10))):
        inputs = draw(st.lists(st.sampled_from(vertices), min_size=1, max_size=3))
        vertices.append(bench.run(f"run-{number % 6}", *inputs))
    return Graph(targets=tuple(draw(st.lists(st.sampled_from(vertices), min_size=1, max_size=3))))


@given(graph=graphs())
def test_walk_gives_inputs_first_and_everything_once(graph: Graph) -> None:
    order = [vertex.digest for vertex in graph.vertices()]
    places = {digest: place for place, digest in enumerate(order)}

    assert len(places) == len(order)
    assert {vertex.digest for vertex in graph.targets} <= places.keys()
    for vertex in graph.vertices():
        assert all(places[source.digest] < places[vertex.digest] for source in vertex.inputs)


@given(graph=graphs())
def test_nothing_is_walked_that_no_target_needs(graph: Graph) -> None:
    needed: set[str] = set()

    def need(vertex: Vertex) -> None:
        needed.add(vertex.digest)
        for source in vertex.inputs:
            need(source)

    for target in graph.targets:
        need(target)

    assert {vertex.digest for vertex in graph.vertices()} == needed


def test_deep_graphs_are_walked() -> None:
    bench = Bench()
    vertex = bench.scratch()
    for number in range(5000):
        vertex = bench.run(str(number), vertex)

    assert sum(1 for _ in walk([vertex])) == 5001
