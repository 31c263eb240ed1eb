"""`du`: what the build cache holds.

It runs in the engine: what steps have made may belong to users that exist only there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from polyarch.builders.collecting import read_settings, settings_of
from polyarch.builders.values import BuilderNode, SavedBuilder
from polyarch.cli.builders.daemons import daemons
from polyarch.cli.cache.filter import CacheFilter, parse_filters
from polyarch.cli.cache.rows import (
    COLUMNS,
    TITLES,
    WHY_COLUMNS,
    pretty,
    record,
    short_rows,
    summary,
    with_why,
)
from polyarch.cli.cache.shared import TIMEOUT, cache_builder
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.store import open_store
from polyarch.cli.frame.table import Format, align_with_tabs, parse_format
from polyarch.errors import InputError
from polyarch.golang.template.values import Value
from polyarch.golang.units import human_size
from polyarch.record import frozen
from polyarch.store.pins import KeptImage, kept_images, pins
from polyarch.store.store import Store
from polyarch.store.usage import Usage, usage

__all__ = ["DU"]


@frozen
class _Reasons:
    """Why entries are kept, by their ids, which images are, and what the settings don't say of that."""

    why: Mapping[str, Sequence[str]] | None = None
    kept: Sequence[KeptImage] = ()
    remarks: tuple[str, ...] = ()


def _du(options: Options, context: Context) -> int:
    chosen = _format(options)
    is_asked = options.is_set("why")
    form = parse_format(chosen, default=WHY_COLUMNS if is_asked else COLUMNS)
    wanted = parse_filters(options.values("filter"))
    builder = cache_builder(context)
    now = time.time()
    if builder.is_remote:
        all_entries, reasons = _of_daemons(builder, context, is_asked=is_asked), _Reasons()
    else:
        with open_store(context, works=False) as store:
            all_entries = usage(store)
            node = builder.nodes[0]
            reasons = _reasons(store, all_entries, node, context) if is_asked else _Reasons()
    entries = _chosen(all_entries, wanted, now)
    if form.template is None:
        text = pretty(entries, now=now, why=reasons.why)
    else:
        is_short = chosen in {"", "table"} and not (is_asked or options.is_set("no-trunc"))
        rows = _rows(entries, reasons.why, now=now, form=form)
        text = form.render(
            short_rows(rows) if is_short else rows,
            titles=TITLES,
            record="*commands.diskusageContext",
        )
    if not wanted and chosen in {"", "table", "pretty"}:
        text += _images(reasons.kept) + summary(entries)
    context.stdout.write(text)
    for remark in reasons.remarks:
        context.warn(f"WARNING: {remark}")
    return 0


def _of_daemons(builder: SavedBuilder, context: Context, *, is_asked: bool) -> tuple[Usage, ...]:
    """Return what the caches of a builder's daemons hold. Raises InputError, RemoteError."""
    if is_asked:
        raise InputError(
            "--why can't be told of other machines: daemons don't say what keeps their records",
            hint="ask for this machine: --builder default",
        )
    # gRPC, for those who have such.
    from polyarch.buildkit.records import disk_usage  # noqa: PLC0415

    found = (disk_usage(remote) for _, remote in daemons(builder, context.environ))
    return tuple(chain.from_iterable(found))


def _format(options: Options) -> str:
    chosen = options.text("format")
    if not options.is_set("verbose"):
        return chosen
    if chosen:
        raise InputError("--format and --verbose cannot be used together")
    return "pretty"


def _chosen(entries: Iterable[Usage], wanted: CacheFilter, now: float) -> list[Usage]:
    """Return what a filter lets through, the largest first."""
    found = [entry for entry in entries if _is_wanted(entry, wanted, now)]
    return sorted(found, key=lambda entry: (-entry.size, entry.record.id))


def _reasons(
    store: Store, entries: Sequence[Usage], node: BuilderNode, context: Context
) -> _Reasons:
    collecting = read_settings(settings_of(node, context.environ), context.environ)
    return _Reasons(
        why=pins(store, entries, collecting.policies),
        kept=kept_images(store),
        remarks=collecting.remarks,
    )


def _rows(
    entries: Iterable[Usage], why: Mapping[str, Sequence[str]] | None, *, now: float, form: Format
) -> Sequence[Mapping[str, Value]]:
    rows = [record(entry, now=now, marked=form.is_table) for entry in entries]
    if why is None:
        return rows
    reasons = [why[entry.record.id] for entry in entries]
    return [
        with_why(row, each, as_text=form.is_table) for row, each in zip(rows, reasons, strict=True)
    ]


def _images(kept: Sequence[KeptImage]) -> str:
    """Write what the images have that no collection removes: they are no records of the cache."""
    if not kept:
        return ""
    lines = [f"{image.name}\t{human_size(image.size)}\n" for image in kept]
    return align_with_tabs("".join(("KEPT IMAGE\tSIZE\n", *lines))) + "\n"


def _is_wanted(entry: Usage, wanted: CacheFilter, now: float) -> bool:
    return wanted.matches(entry) and now - entry.record.last_used >= wanted.seconds


DU = Command(
    usage="[OPTIONS]",
    run=_du,
    needs_engine=True,
    example=(
        "$ polyarch du\n"
        "$ polyarch du --verbose --filter type=exec.cachemount\n"
        "$ polyarch du --format '{{.Size}} {{.Description}}'\n"
        "$ polyarch du --why"
    ),
    description=(
        "An asterisk behind an ID marks what steps may still change, one behind a size what an image\n"
        "of the local store has, too. Records go by themselves beside builds, by the policies that polyarch\n"
        "inspect shows; images that were built without --push, loaded, pulled or tagged stay until polyarch\n"
        "rmi or polyarch image prune."
    ),
    flags=(
        Flag(name="filter", kind=Kind.FILTER, help="Provide filter values"),
        Flag(name="format", help="Format the output", choices=("table", "json", "pretty")),
        Flag(name="no-trunc", kind=Kind.SWITCH, help="Don't truncate output"),
        TIMEOUT,
        Flag(name="verbose", kind=Kind.SWITCH, help='Shorthand for "--format=pretty"'),
        Flag(name="why", kind=Kind.SWITCH, help="Say what keeps each record, and list kept images"),
    ),
)
