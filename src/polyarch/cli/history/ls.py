"""`history ls`: the last builds."""

from __future__ import annotations

import os
import time

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.table import parse_format
from polyarch.cli.history.filter import parse_filters
from polyarch.cli.history.shared import duration, open_history
from polyarch.errors import NotFound
from polyarch.golang.template.values import Value
from polyarch.golang.time import time_of
from polyarch.golang.units import human_duration
from polyarch.history.naming import build_name
from polyarch.history.record import BuildRecord, State
from polyarch.request.vcs import remote_of

__all__ = ["LS"]

_TITLES = {
    "Ref": "BUILD ID",
    "Name": "NAME",
    "Status": "STATUS",
    "CreatedAt": "CREATED AT",
    "Duration": "DURATION",
    "Link": "",
}
_COLUMNS = "{{.Ref}}\t{{.Name}}\t{{.Status}}\t{{.CreatedAt}}\t{{.Duration}}\t{{.Link}}"
_MOST = 50
_NAME_WIDTH = 36
_STATUS = {State.COMPLETED: "Completed", State.RUNNING: "Running"}


def _ls(options: Options, context: Context) -> int:
    filters = options.values("filter")
    if options.is_set("local"):
        filters = (f"repository={_repository()}", *filters)
    wanted = parse_filters(filters)
    form = parse_format(options.text("format"), default=_COLUMNS)
    now = time.time()
    records = [each for each in open_history(context).all() if wanted(each)][:_MOST]
    records.sort(key=lambda record: record.completed is not None)
    rows: list[Value]
    if options.text("format") == "json":
        rows = [_json_row(record) for record in records]
    else:
        is_cut = form.is_table and not options.is_set("no-trunc")
        rows = [_row(record, now, is_cut=is_cut) for record in records]
    context.stdout.write(form.render(rows, titles=_TITLES, record="*history.lsContext"))
    return 0


def _repository() -> str:
    remote = remote_of(os.getcwd())
    if not remote:
        raise NotFound(
            "could not get remote URL for local filter",
            hint="--local is for working trees of repositories that have a remote",
        )
    return remote


def _row(record: BuildRecord, now: float, *, is_cut: bool) -> dict[str, Value]:
    name = build_name(record)
    if is_cut and len(name) > _NAME_WIDTH:
        name = ".." + name[2 - _NAME_WIDTH :]
    running = "" if record.completed is not None else "+"
    return {
        "Ref": record.ref,
        "Name": name,
        "Status": _status(record),
        "CreatedAt": f"{human_duration(now - record.created)} ago",
        "Duration": duration(record.seconds(now)) + running,
        "FullRef": record.full_ref,
        "Link": "",
    }


def _json_row(record: BuildRecord) -> dict[str, Value]:
    row: dict[str, Value] = {
        "cached_steps": record.counts.cached,
        "completed_steps": record.counts.completed,
        "created_at": _utc(record.created),
        "name": build_name(record),
        "ref": record.full_ref,
        "status": _status(record),
        "total_steps": record.counts.total,
    }
    if record.completed is not None:
        row["completed_at"] = _utc(record.completed)
    return dict(sorted(row.items()))


def _status(record: BuildRecord) -> str:
    return _STATUS.get(record.status, "Error")


def _utc(seconds: float) -> str:
    return time_of(round(seconds * 1_000_000), per_second=1_000_000).rfc3339()


LS = Command(
    usage="[OPTIONS]",
    run=_ls,
    example=(
        "$ polyarch history ls\n"
        "$ polyarch history ls --filter status=error --filter 'startedAt>24h'\n"
        "$ polyarch history ls --format '{{.Ref}} {{.Duration}}'"
    ),
    flags=(
        Flag(name="filter", kind=Kind.LIST, help='Provide filter values (e.g., "status=error")'),
        Flag(name="format", help="Format the output", default="table", choices=("table", "json")),
        Flag(name="local", kind=Kind.SWITCH, help="List records for current repository only"),
        Flag(name="no-trunc", kind=Kind.SWITCH, help="Don't truncate output"),
    ),
)
