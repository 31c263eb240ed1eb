"""`du` and `prune`: what the build cache holds, and less of it.

Both run in the engine: what steps have made may belong to users that exist only there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from polyarch.builders.saved import SavedBuilders
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.cache.filter import CacheFilter, parse_filters
from polyarch.cli.cache.rows import (
    COLUMNS,
    TITLES,
    pretty,
    record,
    row,
    row_titles,
    short_rows,
    summary,
    with_tabs,
)
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.engine import open_store
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.prompt import confirm
from polyarch.cli.frame.table import align_with_tabs, parse_format
from polyarch.errors import InputError
from polyarch.golang.template.values import Value
from polyarch.golang.units import human_size
from polyarch.store.usage import Usage, usage

__all__ = ["DU", "PRUNE"]

_TIMEOUT = Flag(name="timeout", kind=Kind.DURATION, default="20s", hidden=True)


def _check_builder(context: Context) -> None:
    working_builder(context, SavedBuilders(context.environ))


# --- du ---


def _du(options: Options, context: Context) -> int:
    chosen = options.text("format")
    if options.is_set("verbose"):
        if chosen:
            raise InputError("--format and --verbose cannot be used together")
        chosen = "pretty"
    form = parse_format(chosen, default=COLUMNS)
    wanted = parse_filters(options.values("filter"))
    _check_builder(context)
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
        _TIMEOUT,
        Flag(name="verbose", kind=Kind.SWITCH, help='Shorthand for "--format=pretty"'),
    ),
)


# --- prune ---


def _prune(options: Options, context: Context) -> int:
    wanted = parse_filters(options.values("filter"))
    everything = options.is_set("all")
    _check_builder(context)
    kind = "all" if everything else "all dangling"
    if not options.is_set("force") and not confirm(
        f"WARNING! This will remove {kind} build cache.", context
    ):
        return 0
    # Only now: asking is quick, and most who prune by hand are asked.
    from polyarch.engine.collect import prune  # noqa: PLC0415
    from polyarch.store.policy import Policy  # noqa: PLC0415

    policy = Policy(
        matches=wanted.matches if wanted.conditions else None,
        keep_seconds=wanted.seconds,
        reserved=options.size("reserved-space") or options.size("keep-storage"),
        max_used=options.size("max-used-space"),
        min_free=options.size("min-free-space"),
        all=everything,
    )
    rows = _Rows(context, verbose=options.is_set("verbose"))
    with open_store(context, works=False) as store:
        freed = prune(store, [policy], on_removed=rows.show)
    context.stdout.write(align_with_tabs(f"Total:\t{human_size(freed.size)}\n"))
    if not freed.complete:
        context.warn(
            "WARNING: another polyarch works on the store; what nothing refers to stays until the "
            "next prune"
        )
    return 0


class _Rows:
    """Shows each record as soon as it is gone."""

    def __init__(self, context: Context, *, verbose: bool) -> None:
        self._context = context
        self._verbose = verbose
        self._titles = "" if verbose else f"{row_titles()}\n"

    def show(self, entry: Usage) -> None:
        now = time.time()
        if self._verbose:
            text = with_tabs([entry], now=now)
        else:
            text = align_with_tabs(f"{self._titles}{row(entry, now=now)}\n")
            self._titles = ""
        self._context.stdout.write(text)
        self._context.stdout.flush()


PRUNE = Command(
    usage="[OPTIONS]",
    run=_prune,
    needs_engine=True,
    example=(
        "$ polyarch prune\n"
        "$ polyarch prune --all --force --filter until=48h\n"
        "$ polyarch prune --force --max-used-space 10gb"
    ),
    description=(
        "What images of the local store and running builds need is never removed. Sizes are those of\n"
        "a number with a unit (kb, mb, gb, powers of 1024)."
    ),
    flags=(
        Flag(
            name="all",
            short="a",
            kind=Kind.SWITCH,
            help="Include internal/frontend images, and layers that images have, too",
        ),
        Flag(
            name="filter",
            kind=Kind.FILTER,
            help='Provide filter values (e.g., "until=24h")',
        ),
        Flag(name="force", short="f", kind=Kind.SWITCH, help="Do not prompt for confirmation"),
        Flag(name="keep-storage", kind=Kind.SIZE, hidden=True),
        Flag(
            name="max-used-space",
            kind=Kind.SIZE,
            help="Maximum amount of disk space allowed to keep for cache",
        ),
        Flag(
            name="min-free-space",
            kind=Kind.SIZE,
            help="Target amount of free disk space after pruning",
        ),
        Flag(
            name="reserved-space",
            kind=Kind.SIZE,
            help="Amount of disk space always allowed to keep for cache",
        ),
        _TIMEOUT,
        Flag(name="verbose", kind=Kind.SWITCH, help="Provide a more verbose output"),
    ),
)
