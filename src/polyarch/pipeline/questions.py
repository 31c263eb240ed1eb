"""Questions about a Dockerfile: what its checks find, what its target takes, which targets there are.

Each goes the path of a build (`polyarch.pipeline.build`) as far as it has to; nothing is built.
"""

from __future__ import annotations

from polyarch.dockerfile.lint.linter import Finding, Linter
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.lowering.outline import Outline, outline
from polyarch.dockerfile.parser import Dockerfile
from polyarch.engine.engine import Engine
from polyarch.errors import Cancelled, PolyarchError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from polyarch.pipeline.reading import linter_of, lower_options, open_reading, tell_findings
from polyarch.platforms import Platform, host
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.record import frozen, replace
from polyarch.request.values import BuildRequest

__all__ = ["CheckResult", "check_on", "outline_on", "targets_on"]

_ALL = frozenset({"network.host", "security.insecure"})
"""What is allowed where nothing runs."""

_BUILD_PLATFORM: tuple[Platform, ...] = ()
"""Platforms for questions about a Dockerfile: BuildKit answers for the machine that it runs on."""


@frozen
class CheckResult:
    """What a check found in `source`; `error` is what keeps the Dockerfile from being built at all."""

    source: SourceText
    findings: tuple[Finding, ...]
    error: PolyarchError | None = None


def check_on(
    engine: Engine,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
) -> CheckResult:
    """Look at what `request` would build, and at all stages if it names none; nothing is built.

    Raises what keeps the Dockerfile or a build context from being read, and Cancelled.
    """
    lint = linter_of(request)
    error: PolyarchError | None = None
    cancel = cancel or CancelToken()
    with open_reading(engine, request, sink, cancel) as reading:
        source = reading.source()
        contexts = reading.contexts()
        resolver = reading.guarded.images(engine.images(sink).resolver(cancel, pull=request.pull))
        if lint.override is not None:
            lint.begin(source)  # what the command line says is no fault of the Dockerfile
        try:
            dockerfile = reading.parse(source, lint)
            options = replace(
                _options(engine, request),
                all_stages=not request.target,
                ignores=contexts.ignores,
                lint=lint,
            )
            lower(dockerfile, host(), options=options, maker=GraphMaker(), images=resolver)
        except Cancelled:
            raise
        except PolyarchError as failure:
            error = failure
    return CheckResult(source=source, findings=tuple(lint.findings), error=error)


def outline_on(
    engine: Engine,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
) -> Outline:
    """Find out what the target of `request` takes from outside; nothing is built.

    Raises what would keep it from being built, as far as that shows in the Dockerfile.
    """
    cancel = cancel or CancelToken()
    with open_reading(engine, request, sink, cancel) as reading:
        lint = linter_of(request)
        dockerfile, shown = reading.load(lint)
        resolver = reading.guarded.images(engine.images(sink).resolver(cancel, pull=request.pull))
        options = replace(_options(engine, request), lint=lint)
        try:
            return outline(dockerfile, host(), options=options, images=resolver)
        finally:
            tell_findings(lint.findings, shown, sink)


def targets_on(
    engine: Engine,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
) -> Dockerfile:
    """Read and parse the Dockerfile of `request`: its stages are the targets that there are."""
    with open_reading(engine, request, sink, cancel or CancelToken()) as reading:
        return reading.load(Linter.mute())[0]


def _options(engine: Engine, request: BuildRequest) -> LowerOptions:
    """Return how a Dockerfile is lowered that isn't built: for this machine, with all allowed."""
    return replace(
        lower_options(request, _BUILD_PLATFORM, engine.environ), allow=_ALL, grant_devices=None
    )
