"""Records of the build cache as `du` and `prune` write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from polyarch.cli.table import align_with_tabs
from polyarch.cli.template.values import Value
from polyarch.cli.units import decimal_size, rough_duration
from polyarch.store.usage import Usage

__all__ = ["COLUMNS", "TITLES", "pretty", "record", "row", "row_titles", "summary"]

COLUMNS = "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}"
TITLES = {
    "ID": "ID",
    "Parents": "PARENTS",
    "CreatedAt": "CREATED AT",
    "Mutable": "MUTABLE",
    "Reclaimable": "RECLAIMABLE",
    "Shared": "SHARED",
    "Size": "SIZE",
    "Description": "DESCRIPTION",
    "UsageCount": "USAGE COUNT",
    "LastUsedAt": "LAST ACCESSED",
    "Type": "TYPE",
}


def record(entry: Usage, *, now: float, marked: bool) -> dict[str, Value]:
    """Return the fields of a record; with `marked` asterisks tell mutable and shared ones apart."""
    return {
        "ID": entry.record.id + ("*" if marked and entry.mutable else ""),
        "Parents": list(entry.record.parents),
        "CreatedAt": _time(entry.record.created),
        "Mutable": entry.mutable,
        "Reclaimable": not entry.in_use,
        "Shared": entry.shared,
        "Size": decimal_size(entry.size) + ("*" if marked and entry.shared else ""),
        "Description": entry.record.description,
        "UsageCount": entry.record.uses,
        "LastUsedAt": _ago(entry, now),
        "Type": entry.record.type.value,
    }


def _time(seconds: float) -> str:
    """Write a time in UTC as Go prints it."""
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0")
    return f"{text.rstrip('.')} +0000 UTC"


def _ago(entry: Usage, now: float) -> str:
    return f"{rough_duration(max(0.0, now - entry.record.last_used))} ago"


def row_titles() -> str:
    """Return the line above the rows of `prune`."""
    return "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED"


def row(entry: Usage, *, now: float) -> str:
    """Return a record as a line with tabs."""
    fields = record(entry, now=now, marked=True)
    reclaimable = str(fields["Reclaimable"]).lower()
    return f"{fields['ID']:<40}\t{reclaimable:<5}\t{fields['Size']:<10}\t{fields['LastUsedAt']}"


def pretty(entries: Iterable[Usage], *, now: float) -> str:
    """Return records with all that is known, one below the other."""
    return align_with_tabs("".join(_block(entry, now=now) for entry in entries))


def _block(entry: Usage, *, now: float) -> str:
    fields = record(entry, now=now, marked=False)
    lines = [f"ID:\t{fields['ID']}"]
    if entry.record.parents:
        lines += ["Parents:", *(f" - {parent}" for parent in entry.record.parents)]
    lines += [
        f"Created at:\t{fields['CreatedAt']}",
        f"Mutable:\t{str(entry.mutable).lower()}",
        f"Reclaimable:\t{str(not entry.in_use).lower()}",
        f"Shared:\t{str(entry.shared).lower()}",
        f"Size:\t{fields['Size']}",
    ]
    if entry.record.description:
        lines.append(f"Description:\t{entry.record.description}")
    lines += [
        f"Usage count:\t{entry.record.uses}",
        f"Last used:\t{fields['LastUsedAt']}",
        f"Type:\t{fields['Type']}",
    ]
    return "\n".join(lines) + "\n\n"


def summary(entries: Sequence[Usage]) -> str:
    """Return the lines below a listing of all records."""
    total = sum(entry.size for entry in entries)
    shared = sum(entry.size for entry in entries if entry.shared)
    reclaimable = sum(entry.size for entry in entries if not entry.in_use)
    sizes = [("Reclaimable", reclaimable), ("Total", total)]
    if shared:
        sizes = [("Shared", shared), ("Private", total - shared), *sizes]
    return align_with_tabs("".join(f"{name}:\t{decimal_size(size)}\n" for name, size in sizes))
