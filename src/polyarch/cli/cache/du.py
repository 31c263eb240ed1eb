"""`du`: what the build cache holds.

It runs in the engine: what steps have made may belong to users that exist only there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from polyarch.cli.cache.filter import CacheFilter, parse_filters
from polyarch.cli.cache.rows import (
    COLUMNS,
    TITLES,
    pretty,
    record,
    short_rows,
    summary,
)
from polyarch.cli.cache.shared import TIMEOUT, check_builder
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.store import open_store
from polyarch.cli.frame.table import parse_format
from polyarch.errors import InputError
from polyarch.golang.template.values import Value
from polyarch.store.usage import Usage, usage

__all__ = ["DU"]


def _du(options: Options, context: Context) -> int:
    chosen = options.text("format")
    if options.is_set("verbose"):
        if chosen:
            raise InputError("--format and --verbose cannot be used together")
        chosen = "pretty"
    form = parse_format(chosen, default=COLUMNS)
    wanted = parse_filters(options.values("filter"))
    check_builder(context)
    now = time.time()
    with open_store(context, works=False) as store:
        entries = [entry for entry in usage(store) if _is_wanted(entry, wanted, now)]
    entries.sort(key=lambda entry: (-entry.size, entry.record.id))
    if form.template is None:
        context.stdout.write(pretty(entries, now=now))
    else:
        rows: Sequence[Mapping[str, Value]]
        rows = [record(entry, now=now, marked=form.is_table) for entry in entries]
        if chosen in {"", "table"} and not options.is_set("no-trunc"):
            rows = short_rows(rows)
        context.stdout.write(form.render(rows, titles=TITLES, record="*commands.diskusageContext"))
    if not wanted and chosen in {"", "table", "pretty"}:
        context.stdout.write(summary(entries))
    return 0


def _is_wanted(entry: Usage, wanted: CacheFilter, now: float) -> bool:
    return wanted.matches(entry) and now - entry.record.last_used >= wanted.seconds


DU = Command(
    usage="[OPTIONS]",
    run=_du,
    needs_engine=True,
    example=(
        "$ polyarch du\n"
        "$ polyarch du --verbose --filter type=exec.cachemount\n"
        "$ polyarch du --format '{{.Size}} {{.Description}}'"
    ),
    description=(
        "An asterisk behind an ID marks what steps may still change, one behind a size what an image\n"
        "of the local store has, too."
    ),
    flags=(
        Flag(name="filter", kind=Kind.FILTER, help="Provide filter values"),
        Flag(name="format", help="Format the output", choices=("table", "json", "pretty")),
        Flag(name="no-trunc", kind=Kind.SWITCH, help="Don't truncate output"),
        TIMEOUT,
        Flag(name="verbose", kind=Kind.SWITCH, help='Shorthand for "--format=pretty"'),
    ),
)
