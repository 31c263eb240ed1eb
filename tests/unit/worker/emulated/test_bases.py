"""The images that a step's root may have programs of."""

from __future__ import annotations

from polyarch.digest import sha256
from polyarch.graph.op import CopyAction, ExecOp, FileOp, ImageOp, ScratchOp
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.platforms import Platform
from polyarch.worker.emulated.bases import Bases, find_bases
from tests.support.images.platforms import AMD64, ARM64


def image(name: str, platform: Platform = ARM64) -> ImageOp:
    digest = sha256(f"{name} {platform}".encode())
    return ImageOp(reference=name, digest=digest, platform=platform, diff_ids=())


def run(below: Vertex) -> Vertex:
    op = ExecOp(argv=("make",), env=(), cwd="/", user="", platform=ARM64)
    return make_vertex(op, (below,))


def copy(below: Vertex, source: Vertex) -> Vertex:
    action = CopyAction(input=1, sources=("a",), destination="/")
    return make_vertex(FileOp(actions=(action,)), (below, source))


def test_the_image_below_all_steps_is_its_own() -> None:
    base = image("debian")

    assert find_bases(run(run(make_vertex(base)))) == Bases(own=base, others=())


def test_others_are_those_that_were_copied_from() -> None:
    debian, alpine, busybox = map(image, ("debian", "alpine", "busybox"))
    alpine_stage = copy(make_vertex(alpine), run(make_vertex(busybox)))
    native = make_vertex(image("golang", AMD64))

    found = find_bases(run(copy(copy(make_vertex(debian), alpine_stage), native)))

    assert found == Bases(own=debian, others=(alpine, busybox))


def test_from_scratch_there_is_no_own_one() -> None:
    base = image("debian")

    found = find_bases(run(copy(make_vertex(ScratchOp()), make_vertex(base))))

    assert found == Bases(own=None, others=(base,))
