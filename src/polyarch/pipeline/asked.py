"""What a build is to do, as far as its request says so by itself: before anything is read."""

from __future__ import annotations

import time

from polyarch.attest.options import AttestOptions, read_options
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.engine.engine import Engine
from polyarch.exporter.annotations import annotated
from polyarch.exporter.forms import as_before, check_forms
from polyarch.exporter.outputs import Engines, check_outputs
from polyarch.images.place import Seal
from polyarch.pipeline.attesting import forms_of, with_arguments
from polyarch.pipeline.changed import check_wish
from polyarch.pipeline.offline import without_network
from polyarch.pipeline.reading import lower_options
from polyarch.pipeline.sealing import sealing
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen, replace
from polyarch.request.values import BuildRequest

__all__ = ["Asked", "read_request"]


@frozen
class Asked:
    """A request with all that its parts ask of one another, and what follows from it.

    `started` is when it came, in nanoseconds; `dockers` are the engines that images are handed to.
    """

    request: BuildRequest
    attestations: AttestOptions
    platforms: tuple[Platform, ...]
    options: LowerOptions
    dockers: Engines
    seal: Seal | None
    started: int


def read_request(engine: Engine, request: BuildRequest, sink: Sink, cancel: CancelToken) -> Asked:
    """Return what a request asks for. Raises InputError for what can't be, or not together."""
    started = time.time_ns()
    request = replace(request, outputs=annotated(request.outputs, request.annotations))
    request = with_arguments(request)
    check_wish(request)
    attestations = read_options(request.attestations)
    request = without_network(request, engine.environ, sink)
    seal = sealing(request, engine.environ, cancel)
    # A request may have been put together by hand, without `make_request`.
    platforms = tuple(map(normalize, request.platforms or (host(),)))
    dockers = engine.docker_engines(request.outputs)
    options = lower_options(request, platforms, engine.environ)
    forms = forms_of(request, attestations, options, platforms)
    request = replace(request, outputs=as_before(request.outputs, forms))
    check_outputs(request.outputs, forms)
    check_forms(request.outputs, forms)
    return Asked(
        request=request,
        attestations=attestations,
        platforms=platforms,
        options=options,
        dockers=dockers,
        seal=seal,
        started=started,
    )
