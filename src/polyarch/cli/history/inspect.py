"""`history inspect`: what a build was asked for, and what came of it; `history inspect attachment`: its documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Options
from polyarch.cli.frame.store import open_store
from polyarch.cli.frame.table import align_with_tabs
from polyarch.cli.history.inspected import CONFIG, inspected, without_empty
from polyarch.cli.history.shared import duration, open_history
from polyarch.digest import parse_digest
from polyarch.errors import InputError, InvalidDigest, NotFound, PolyarchError
from polyarch.golang.json import indented
from polyarch.golang.strconv import quote
from polyarch.golang.template.template import parse_template
from polyarch.golang.template.values import Value, to_json
from polyarch.golang.units import bytes_size
from polyarch.history.attachments import PROVENANCE, Attachment, Attachments
from polyarch.history.record import BuildRecord, State
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.media import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from polyarch.platforms import parse as parse_platform
from polyarch.progress import Event

__all__ = ["ATTACHMENT", "INSPECT"]

_TYPES: dict[str, Callable[[str], bool]] = {
    "index": lambda kind: kind == OCI_INDEX,
    "manifest": lambda kind: kind == OCI_MANIFEST,
    "image": lambda kind: kind == OCI_CONFIG,
    "provenance": lambda kind: kind.startswith(PROVENANCE),
    "sbom": lambda kind: kind == "https://spdx.dev/Document",
}


def _inspect(options: Options, context: Context) -> int:
    name = options.arguments[0] if options.arguments else ""
    history = open_history(context)
    record = history.get(name)

    def events() -> Iterator[Event]:
        with suppress(PolyarchError):
            for _, event in history.events(record):
                yield event

    with open_store(context, works=False) as store:
        attachments = Attachments(history, record, store.blobs)
        listed = attachments.all()
        materials = _materials(attachments, listed)
        fields = inspected(record, time.time(), events(), listed, materials)
    form = options.text("format")
    if form == "json":
        context.print(indented(to_json(without_empty(fields))).decode())
    elif form != "pretty":
        context.print(parse_template(form).render(fields, record="history.inspectOutput"))
    else:
        context.stdout.write("".join(_pretty(record, fields, is_named=bool(name))))
    return 0


def _materials(attachments: Attachments, listed: tuple[Attachment, ...]) -> list[Value]:
    """Return what was built from, as the first provenance tells it."""
    found = next((each for each in listed if each.type.startswith(PROVENANCE)), None)
    if found is None:
        return []
    fields = read_document(attachments.read(found.descriptor.digest))
    predicate = fields.object("predicate") if "predicate" in fields else fields
    if "buildDefinition" in predicate:
        given = predicate.object("buildDefinition").objects("resolvedDependencies")
    else:
        given = predicate.objects("materials")
    return [{"URI": each.text("uri"), "Digests": _digests(each)} for each in given]


def _digests(material: Fields) -> list[Value]:
    return [f"{name}:{value}" for name, value in sorted(material.text_map("digest").items())]


# --- for people ---


def _pretty(record: BuildRecord, fields: dict[str, Value], *, is_named: bool) -> Iterator[str]:
    platforms = fields["Platform"]
    assert isinstance(platforms, list)
    yield _lines(
        ("Name", fields["Name"]),
        ("Ref", "" if is_named else record.ref),
        ("Context", fields["Context"]),
        ("Dockerfile", fields["Dockerfile"]),
        ("VCS Repository", fields["VCSRepository"]),
        ("VCS Revision", fields["VCSRevision"]),
        ("Target", fields["Target"]),
        ("Platforms", ", ".join(map(str, platforms))),
        ("Keep Git Dir", fields["KeepGitDir"]),
    )
    yield "\n"
    yield _table(fields["NamedContexts"], "Named Context")
    yield _outcome(record)
    yield "\n"
    yield _settings(fields["Config"])
    yield "\n"
    yield _table(fields["BuildArgs"], "Build Arg")
    yield _table(fields["Labels"], "Label")
    yield _list("Materials", fields["Materials"], ("URI", "Digests"))
    yield _list("Attachments", fields["Attachments"], ("Digest", "Platform", "Type"))
    yield _trouble(fields["Error"])
    yield f"Print build logs: docker buildx history logs {record.ref}\n"


def _outcome(record: BuildRecord) -> str:
    running = " (running)" if record.status is State.RUNNING else ""
    counts, error = record.counts, record.error
    share = 100 * counts.cached / counts.total if counts.total else 0.0
    failed = f"{error.name} {error.message}" if error and record.status is State.FAILED else ""
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
    return _lines(
        ("Started", started),
        ("Duration", duration(record.seconds(time.time())) + running),
        ("Error", failed),
        ("Status", "Canceled" if record.status is State.CANCELED else ""),
        ("Build Steps", f"{counts.completed}/{counts.total} ({share:.0f}% cached)"),
    )


def _settings(config: Value) -> str:
    assert isinstance(config, dict)
    rows: list[tuple[str, Value]] = []
    for name, label in CONFIG.values():
        value = config[name]
        if name in {"Memory", "MemorySwap"} and str(value).isdecimal():
            value = bytes_size(int(str(value)))
        rows.append((label, ", ".join(map(str, value)) if isinstance(value, list) else value))
    rest = config["RestRaw"]
    assert isinstance(rest, list)
    for pair in rest:
        assert isinstance(pair, dict)
        rows.append((str(pair["Name"]), pair["Value"]))
    return _lines(*rows)


def _lines(*rows: tuple[str, Value]) -> str:
    told = ((label, str(value).lower() if value is True else value) for label, value in rows)
    return align_with_tabs("".join(f"{label}:\t{value}\n" for label, value in told if value))


def _table(pairs: Value, title: str) -> str:
    assert isinstance(pairs, list)
    if not pairs:
        return ""
    rows = "".join(f"{each['Name']}\t{each['Value']}\n" for each in pairs if isinstance(each, dict))
    return align_with_tabs(f"{title.upper()}\tVALUE\n{rows}") + "\n"


def _list(title: str, entries: Value, columns: tuple[str, ...]) -> str:
    assert isinstance(entries, list)
    if not entries:
        return ""
    head = "\t".join(columns).upper().replace("DIGESTS", "DIGEST")
    rows = [
        "\t".join(_cell(each[column]) for column in columns)
        for each in entries
        if isinstance(each, dict)
    ]
    return f"{title}:\n" + align_with_tabs("".join(f"{row}\n" for row in (head, *rows))) + "\n"


def _cell(value: Value) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _trouble(error: Value) -> str:
    if not isinstance(error, dict):
        return ""
    logs = error["Logs"]
    assert isinstance(logs, list)
    text = f"{error['Sources']}\n" if error["Sources"] else ""
    if logs:
        lines = "".join(f"> {line}\n" for line in logs)
        text += f"Logs:\n> => {error['Name']}:\n{lines}\n"
    return text


# --- documents ---


def _is_digest(digest: str) -> Callable[[Attachment], bool]:
    try:
        parse_digest(digest)
    except InvalidDigest as error:
        raise InputError(f"invalid digest {quote(digest)}: {error}") from error
    return lambda each: each.descriptor.digest == digest


def _is_about(kind: str, platform: str) -> Callable[[Attachment], bool]:
    """Match the type and the platform; "" is any."""
    wanted = parse_platform(platform) if platform else None
    matches = _type_matcher(kind)
    return lambda each: wanted in {None, each.platform} and matches(each.type)


def _attachment(options: Options, context: Context) -> int:
    name, digest = (*options.arguments, "", "")[:2]
    kind, platform = options.text("type"), options.text("platform")
    if not digest and not kind and not platform:
        raise InputError("at least one of --type, --platform or DIGEST must be specified")
    is_wanted = _is_digest(digest) if digest else _is_about(kind, platform)
    history = open_history(context)
    record = history.get(name)
    with open_store(context, works=False) as store:
        attachments = Attachments(history, record, store.blobs)
        for each in attachments.all():
            if is_wanted(each):
                context.stdout.buffer.write(attachments.read(each.descriptor.digest))
                return 0
    raise NotFound(
        f'no matching attachment found for ref "{name or record.ref}"',
        hint="polyarch history inspect lists the attachments",
    )


def _type_matcher(kind: str) -> Callable[[str], bool]:
    return _TYPES.get(kind) or (lambda found: kind in {"", found})


INSPECT = Command(
    usage="[OPTIONS] [REF]",
    run=_inspect,
    most=1,
    example="$ polyarch history inspect\n$ polyarch history inspect --format '{{.Status}}' ^1",
    flags=(
        Flag(name="format", default="pretty", help="Format the output", choices=("json", "pretty")),
    ),
)
ATTACHMENT = Command(
    usage="[OPTIONS] [REF [DIGEST]]",
    run=_attachment,
    most=2,
    example="$ polyarch history inspect attachment --type provenance --platform linux/arm64",
    flags=(
        Flag(name="platform", help="Platform of attachment", completes="platforms"),
        Flag(name="type", help="Type of attachment", choices=tuple(_TYPES)),
    ),
)
