"""What a bake would do: its targets, what they are built on, and the steps that several of them have in common.

Each Dockerfile is read and lowered as for a build; nothing runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.digest import Digest
from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.engine.engine import Engine
from polyarch.graph.graph import GraphMaker, walk
from polyarch.graph.op import ExecOp, FileOp
from polyarch.graph.vertex import Vertex
from polyarch.pipeline.attesting import Noted
from polyarch.pipeline.bake import Builds, links_of, ordered
from polyarch.pipeline.company import Company, Meaning
from polyarch.pipeline.meaning import read_dockerfile
from polyarch.pipeline.reading import lower_options, open_reading
from polyarch.platforms import host, normalize
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.request.values import BuildRequest

__all__ = ["BakeGraph", "GraphTarget", "SharedStep", "graph_on"]


@frozen
class GraphTarget:
    """A target: `needs` are those that it is built on; `level` is 0 for one that needs none, else one more than theirs.

    `steps` are those of all platforms, `shared` those of them that another target has, too.
    """

    name: str
    platforms: tuple[str, ...]
    needs: tuple[str, ...]
    level: int
    steps: int
    shared: int


@frozen
class SharedStep:
    """A step that several targets have in common, as the first of them calls it."""

    name: str
    targets: tuple[str, ...]


@frozen
class BakeGraph:
    """The targets, those that others are built on first; `steps` is how many run, if none is cached."""

    targets: tuple[GraphTarget, ...]
    shared: tuple[SharedStep, ...]
    steps: int


def graph_on(
    engine: Engine, requests: Mapping[str, BuildRequest], *, sink: Sink, cancel: CancelToken
) -> BakeGraph:
    """Find out what a bake of these requests would do. Raises what keeps a Dockerfile from being built."""
    names = ordered(requests)
    builds = Builds(engine, requests, names, cancel, keeps_going=False)
    steps = {
        name: _steps(_understand(engine, requests[name], sink, cancel, builds.beside[name]))
        for name in names
    }
    owners: dict[Digest, list[str]] = {}
    for name, mine in steps.items():
        for digest in mine:
            owners.setdefault(digest, []).append(name)
    levels = _levels(names, requests)
    return BakeGraph(
        targets=tuple(
            GraphTarget(
                name=name,
                platforms=tuple(map(str, requests[name].platforms or (host(),))),
                needs=tuple(dict.fromkeys(links_of(requests[name]))),
                level=levels[name],
                steps=len(mine),
                shared=sum(len(owners[digest]) > 1 for digest in mine),
            )
            for name, mine in steps.items()
        ),
        shared=tuple(
            SharedStep(name=steps[each[0]][digest].name, targets=tuple(each))
            for digest, each in owners.items()
            if len(each) > 1
        ),
        steps=len(owners),
    )


def _steps(lowered: Sequence[Lowered]) -> dict[Digest, Vertex]:
    """Return the steps of a target, of all platforms together."""
    found = walk([each.vertex for each in lowered])
    return {each.digest: each for each in found if isinstance(each.op, ExecOp | FileOp)}


def _levels(names: Sequence[str], requests: Mapping[str, BuildRequest]) -> dict[str, int]:
    """Return how many targets have to be built one after the other before each; `names` are in the order of building."""
    levels: dict[str, int] = {}
    for name in names:
        levels[name] = 1 + max((levels[each] for each in links_of(requests[name])), default=-1)
    return levels


def _understand(
    engine: Engine, request: BuildRequest, sink: Sink, cancel: CancelToken, company: Company
) -> Sequence[Lowered]:
    platforms = tuple(map(normalize, request.platforms or (host(),)))
    with open_reading(engine, request, sink, cancel, company) as reading:
        options = replace(lower_options(request, platforms, engine.environ), linked=company.linked)
        images = company.resolver(engine.images(sink), request, cancel)
        noted = Noted(images=reading.guarded.images(images))
        mute = Linter.mute()
        lowered = read_dockerfile(reading, platforms, options, noted, GraphMaker(), mute).lowered
        company.understood(
            Meaning(lowered=lowered, resolved=noted.resolved, pins=reading.remote.pins)
        )
    return lowered
