"""`prune`: less of the build cache.

It runs in the engine: what steps have made may belong to users that exist only there.
"""

from __future__ import annotations

import time

from polyarch.builders.values import SavedBuilder
from polyarch.cli.builders.daemons import daemons
from polyarch.cli.cache.filter import parse_filters
from polyarch.cli.cache.rows import row, row_titles, with_tabs
from polyarch.cli.cache.shared import TIMEOUT, cache_builder
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.prompt import confirm
from polyarch.cli.frame.store import open_store
from polyarch.cli.frame.table import align_with_tabs
from polyarch.engine.collect import prune
from polyarch.golang.units import human_size
from polyarch.store.policy import Policy
from polyarch.store.usage import Usage

__all__ = ["PRUNE"]


def _prune(options: Options, context: Context) -> int:
    wanted = parse_filters(options.values("filter"))
    everything = options.is_set("all")
    builder = cache_builder(context)
    if options.given("keep-storage"):
        context.warn(
            "Flag --keep-storage has been deprecated, keep-storage flag has been changed to reserved-space"
        )
    kind = "all" if everything else "all dangling"
    if not options.is_set("force") and not confirm(
        f"WARNING! This will remove {kind} build cache.", context
    ):
        return 0
    policy = Policy(
        matches=wanted.matches if wanted.conditions else None,
        keep_seconds=wanted.seconds,
        reserved=options.size("reserved-space") or options.size("keep-storage"),
        max_used=options.size("max-used-space"),
        min_free=options.size("min-free-space"),
        all=everything,
    )
    rows = _Rows(context, verbose=options.is_set("verbose"))
    if builder.is_remote:
        _prune_daemons(builder, policy, options, rows)
        return 0
    with open_store(context, works=False, frees=True) as store:
        # The collector of a build may be at it; it isn't for long.
        freed = prune(store, [policy], on_removed=rows.show, wait=True)
    context.stdout.write(align_with_tabs(f"Total:\t{human_size(freed.size)}\n"))
    return 0


def _prune_daemons(builder: SavedBuilder, policy: Policy, options: Options, rows: _Rows) -> None:
    # gRPC, for those who have such.
    from polyarch.buildkit.records import prune_daemon  # noqa: PLC0415

    ages = ("until", "unused-for")
    filters = [
        each for each in options.values("filter") if each.partition("=")[0].strip() not in ages
    ]
    for _, remote in daemons(builder, rows.context.environ):
        prune_daemon(remote, filters, policy, rows.show)
    rows.context.stdout.write(align_with_tabs(f"Total:\t{human_size(rows.size)}\n"))


class _Rows:
    """Shows each record as soon as it is gone; `size` is how large they were."""

    def __init__(self, context: Context, *, verbose: bool) -> None:
        self.context = context
        self.size = 0
        self._verbose = verbose
        self._titles = "" if verbose else f"{row_titles()}\n"

    def show(self, entry: Usage) -> None:
        """Show a record."""
        now = time.time()
        self.size += entry.size
        if self._verbose:
            text = with_tabs([entry], now=now)
        else:
            text = align_with_tabs(f"{self._titles}{row(entry, now=now)}\n")
            self._titles = ""
        self.context.stdout.write(text)
        self.context.stdout.flush()


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
        TIMEOUT,
        Flag(name="verbose", kind=Kind.SWITCH, help="Provide a more verbose output"),
    ),
)
