"""A build whose record is kept: what the command line and programs ask for."""

from __future__ import annotations

import base64

from polyarch.engine.engine import Engine
from polyarch.engine.explain import Explain
from polyarch.golang.json import compact
from polyarch.history.record import BuildRecord, Exporter, ResultInfo
from polyarch.history.recording import recording
from polyarch.pipeline.build import build_on
from polyarch.pipeline.company import ALONE, Company
from polyarch.platforms import host
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.record import replace
from polyarch.request.frontend import frontend_attributes, hide_secrets
from polyarch.request.ref import local_state, new_ref
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

__all__ = ["recorded_build"]


def recorded_build(
    engine: Engine,
    request: BuildRequest,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken | None = None,
    explain: Explain | None = None,
    company: Company = ALONE,
) -> BuildResult:
    """Carry out `request` as `build_on` does, and keep its record in the store, whether it ends well or not."""
    name = request.ref or new_ref()
    builder, node, ref = name.split("/")
    record = BuildRecord(
        ref=ref,
        builder=builder,
        node=node,
        attributes=hide_secrets(frontend_attributes(request)),
        exporters=tuple(
            Exporter(type=each.type, attributes=each.attributes) for each in request.outputs
        ),
        platform=str(host()),
        state=local_state(request),
    )
    directory = engine.store.root / "history"
    with recording(directory, record, sink, keeps_logs=request.mask_secrets) as kept:
        result = build_on(
            engine, request, sink=kept, cancel=cancel, explain=explain, company=company
        )
        result = replace(result, ref=name)
        kept.note(_response(result), _image(result))
    return result


def _response(result: BuildResult) -> dict[str, str]:
    """Return what BuildKit's exporter answers its client."""
    if result.descriptor is None:
        return {}
    described = base64.b64encode(compact(result.descriptor.to_json())).decode()
    found = {
        "containerimage.config.digest": result.config_digest or "",
        "containerimage.descriptor": described,
        "containerimage.digest": result.descriptor.digest,
        "image.name": ",".join(result.names),
    }
    return {name: text for name, text in found.items() if text}


def _image(result: BuildResult) -> ResultInfo | None:
    return None if result.descriptor is None else ResultInfo(results=(result.descriptor,))
