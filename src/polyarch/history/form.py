"""The record of a build as a JSON document, in files and in archives.

The form is that of buildx's archives (`.dockerbuild`), so what is exported and imported is the same
document: BuildKit's `BuildHistoryRecord` as Go's encoding/json writes it, and what buildx adds of the machine. What is
ours stands in the field `polyarch`, which others pass over.

Source: BuildKit's `control.proto`, buildx's `util/desktop/bundle`.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import parse_digest
from polyarch.history.record import BuildError, BuildRecord, Counts, Exporter, ResultInfo
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields
from polyarch.request.frontend import FRONTEND

__all__ = ["LOGS_TYPE", "RECORD_TYPE", "read_record", "record_json"]

RECORD_TYPE = "application/vnd.buildkit.historyrecord.v0"
LOGS_TYPE = "application/vnd.buildkit.status.v0"
_SECOND = 1_000_000_000


def record_json(record: BuildRecord) -> dict[str, object]:
    """Return the document; fields that hold nothing are left out."""
    document: dict[str, object] = {
        "Ref": record.ref,
        "Frontend": FRONTEND,
        "FrontendAttrs": dict(sorted(record.attributes.items())),
        "Exporters": [
            {"Type": each.type, "Attrs": dict(sorted(each.attributes.items()))}
            for each in record.exporters
        ],
        "error": _error_json(record.error),
        "CreatedAt": _time_json(record.created),
        "CompletedAt": None if record.completed is None else _time_json(record.completed),
        "logs": _descriptor_json(record.logs),
        "ExporterResponse": dict(sorted(record.response.items())),
        "Result": None if record.result is None else _result_json(record.result),
        "Results": {name: _result_json(each) for name, each in sorted(record.results.items())},
        "trace": _descriptor_json(record.trace),
        "numCachedSteps": record.counts.cached,
        "numTotalSteps": record.counts.total,
        "numCompletedSteps": record.counts.completed,
        "numWarnings": record.counts.warnings,
        "localState": dict(record.state),
        "polyarch": _ours(record),
    }
    kept = {name: value for name, value in document.items() if value}
    return {**kept, "DefaultPlatform": record.platform}


def _ours(record: BuildRecord) -> dict[str, str]:
    error = record.error or BuildError(code=0, message="")
    texts = {
        "builder": record.builder,
        "node": record.node,
        "step": error.step,
        "excerpt": error.excerpt,
    }
    return {name: text for name, text in texts.items() if text}


def _error_json(error: BuildError | None) -> dict[str, object] | None:
    return None if error is None else {"code": error.code, "message": error.message}


def _time_json(seconds: float) -> dict[str, int]:
    whole, part = divmod(round(seconds * 1_000_000), 1_000_000)
    return {"seconds": whole, "nanos": part * 1000}


def _result_json(result: ResultInfo) -> dict[str, object]:
    found: dict[str, object] = {
        "Attestations": [_descriptor_json(each) for each in result.attestations],
        "Results": {
            str(number): _descriptor_json(each) for number, each in enumerate(result.results)
        },
    }
    return {name: value for name, value in found.items() if value}


def _descriptor_json(descriptor: Descriptor | None) -> dict[str, object] | None:
    if descriptor is None:
        return None
    found: dict[str, object] = {
        "media_type": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
        "annotations": dict(sorted(descriptor.annotations.items())),
    }
    return {name: value for name, value in found.items() if value}


# --- reading ---


def read_record(fields: Fields) -> BuildRecord:
    """Read a document, ours or BuildKit's. Raises IntegrityError, InvalidDigest."""
    ours = _object(fields, "polyarch")
    return BuildRecord(
        ref=fields.text("Ref", required=True),
        builder=ours.text("builder"),
        node=ours.text("node"),
        attributes=fields.text_map("FrontendAttrs"),
        exporters=tuple(
            Exporter(type=each.text("Type"), attributes=each.text_map("Attrs"))
            for each in fields.objects("Exporters")
        ),
        created=_time_of(_object(fields, "CreatedAt")),
        completed=_time_of(fields.object("CompletedAt")) if "CompletedAt" in fields else None,
        error=_error_of(fields.object("error"), ours) if "error" in fields else None,
        response=fields.text_map("ExporterResponse"),
        result=_result_of(fields.object("Result")) if "Result" in fields else None,
        results={name: _result_of(each) for name, each in _by_name(fields, "Results")},
        counts=Counts(
            total=fields.number("numTotalSteps"),
            completed=fields.number("numCompletedSteps"),
            cached=fields.number("numCachedSteps"),
            warnings=fields.number("numWarnings"),
        ),
        logs=_descriptor_at(fields, "logs"),
        trace=_descriptor_at(fields, "trace"),
        platform=fields.text("DefaultPlatform"),
        state=fields.text_map("localState"),
    )


def _object(fields: Fields, key: str) -> Fields:
    return fields.object(key) if key in fields else Fields({}, fields.place(key))


def _by_name(fields: Fields, key: str) -> list[tuple[str, Fields]]:
    found = _object(fields, key)
    return [(name, found.object(name)) for name in found.rest(())]


def _error_of(error: Fields, ours: Fields) -> BuildError:
    return BuildError(
        code=error.number("code"),
        message=error.text("message"),
        step=ours.text("step"),
        excerpt=ours.text("excerpt"),
    )


def _time_of(fields: Fields) -> float:
    return fields.integer("seconds") + fields.integer("nanos") / _SECOND


def _result_of(fields: Fields) -> ResultInfo:
    results: Mapping[str, Fields] = dict(_by_name(fields, "Results"))
    return ResultInfo(
        attestations=tuple(map(_descriptor_of, fields.objects("Attestations"))),
        results=tuple(_descriptor_of(results[number]) for number in sorted(results)),
    )


def _descriptor_at(fields: Fields, key: str) -> Descriptor | None:
    return _descriptor_of(fields.object(key)) if key in fields else None


def _descriptor_of(fields: Fields) -> Descriptor:
    return Descriptor(
        media_type=fields.text("media_type"),
        digest=parse_digest(fields.text("digest", required=True)),
        size=fields.number("size"),
        annotations=fields.text_map("annotations"),
    )
