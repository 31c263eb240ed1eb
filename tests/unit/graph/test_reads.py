"""What graphs read of build contexts."""

from __future__ import annotations

from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    CopyAction,
    ExecOp,
    FileOp,
    LocalOp,
    MergeOp,
    MkdirAction,
    ScratchOp,
)
from polyarch.graph.reads import context_reads
from polyarch.platforms import host


def test_paths_are_those_that_copies_and_mounts_name() -> None:
    maker = GraphMaker()
    main = maker.add(LocalOp(name="context"), name="load")
    other, whole = maker.add(LocalOp(name="other")), maker.add(LocalOp(name="whole"))
    scratch = maker.add(ScratchOp())
    copied = maker.add(
        FileOp(
            actions=(
                MkdirAction(path="/d"),
                CopyAction(input=1, sources=("src", "*.txt"), destination="/d/"),
                CopyAction(input=2, sources=("/e",), destination="/d/"),
            )
        ),
        (scratch, main, other),
    )
    step = maker.add(
        ExecOp(
            argv=("x",),
            env=(),
            cwd="/",
            user="",
            platform=host(),
            mounts=(
                BindMount(target="/m", input=1, source="lib"),
                CacheMount(target="/c", id="c", input=2, source="/seed"),
                CacheMount(target="/n", id="n"),
            ),
        ),
        (copied, main, other),
    )
    merged = maker.add(MergeOp(), (step, whole))

    found = context_reads(Graph(targets=(merged,)))

    assert {name: each.paths for name, each in found.items()} == {
        "context": ("*.txt", "lib", "src"),
        "other": ("/e", "/seed"),
        "whole": ("/",),
    }
    assert (found["context"].step, found["context"].step_name) == (main.digest, "load")


def test_a_context_that_is_the_result_is_read_as_a_whole() -> None:
    local = GraphMaker().add(LocalOp(name="context"))

    assert context_reads(Graph(targets=(local,)))["context"].paths == ("/",)
