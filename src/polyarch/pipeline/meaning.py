"""What a Dockerfile means for the platforms of a request: read, checked and lowered, whoever builds the graph."""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.digest import Digest
from polyarch.dockerfile.lint.linter import Linter
from polyarch.dockerfile.lowering.epoch import find_epoch
from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import BaseImages, LowerOptions
from polyarch.dockerfile.parser import Dockerfile
from polyarch.graph.graph import GraphMaker
from polyarch.pipeline.contexts import Contexts
from polyarch.pipeline.reading import Dates, Reading, linter_of, tell_findings
from polyarch.platforms import Platform
from polyarch.record import frozen, replace

__all__ = ["ReadDockerfile", "read_dockerfile"]


@frozen
class ReadDockerfile:
    """A Dockerfile, its contexts, and the results that it leads to, one for each platform.

    `options` have what was found in the Dockerfile and its contexts; `shown` is the step that remarks belong to.
    """

    dockerfile: Dockerfile
    shown: Digest
    contexts: Contexts
    options: LowerOptions
    lowered: list[Lowered]


def read_dockerfile(
    reading: Reading,
    platforms: Sequence[Platform],
    options: LowerOptions,
    images: BaseImages,
    maker: GraphMaker,
    lint: Linter | None = None,
) -> ReadDockerfile:
    """Read the Dockerfile, and lower its target for each platform into the graph of `maker`.

    `lint` looks for faults, by default as the request asks for; what it finds is told of, also if lowering fails.
    Raises what reading, parsing and lowering raise.
    """
    request = reading.request
    lint = lint or linter_of(request)
    dockerfile, shown = reading.load(lint)
    contexts = reading.contexts()
    dates = Dates(contexts=contexts, loader=reading.loader)
    options = replace(
        options,
        epoch=find_epoch(dockerfile, request.build_args, options.build_platform, dates),
        ignores=contexts.ignores,
        lint=lint,
        places=contexts.places,
    )
    try:
        lowered = _lower_all(dockerfile, platforms, options, images, maker)
    finally:
        tell_findings(lint.findings, shown, reading.sink)
    return ReadDockerfile(
        dockerfile=dockerfile, shown=shown, contexts=contexts, options=options, lowered=lowered
    )


def _lower_all(
    dockerfile: Dockerfile,
    platforms: Sequence[Platform],
    options: LowerOptions,
    images: BaseImages,
    maker: GraphMaker,
) -> list[Lowered]:
    # What there is to say of the Dockerfile is said of the first platform, as BuildKit does.
    mute = replace(options, lint=Linter.mute())
    return [
        lower(dockerfile, each, options=mute if number else options, maker=maker, images=images)
        for number, each in enumerate(platforms)
    ]
