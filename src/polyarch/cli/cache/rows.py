"""Records of the build cache as `du` and `prune` write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from polyarch.cli.frame.table import align_with_tabs, fitted
from polyarch.golang.template.values import Value
from polyarch.golang.time import time_of
from polyarch.golang.units import human_duration, human_size
from polyarch.pattern import pattern
from polyarch.store.usage import Usage

__all__ = [
    "COLUMNS",
    "TITLES",
    "WHY_COLUMNS",
    "pretty",
    "record",
    "row",
    "row_titles",
    "short_rows",
    "summary",
    "with_tabs",
    "with_why",
]

WHY_COLUMNS = "{{.ID}}\t{{.Size}}\t{{.Why}}"
COLUMNS = "{{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}\t{{.Description}}"
_FIELDS = ("ID", "Reclaimable", "Size", "LastUsedAt", "Description")
_SHORT = 8
_END = "\n\n"
_NAME = pattern(r"^([A-Z][a-z A-Z]*:)\t", re.MULTILINE)
_NAME_WIDTH = 14
# What stands before the command of a step, where there is little room.
_SAYS_LITTLE = pattern(r"^(?:mount / from exec |(cached mount \S+ )from exec )(?:/bin/sh -c )?")
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
    "Why": "WHY",
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
        "Size": human_size(entry.size) + ("*" if marked and entry.shared else ""),
        "Description": entry.record.description,
        "UsageCount": entry.record.uses,
        "LastUsedAt": _ago(entry, now),
        "Type": entry.record.type.value,
    }


def _time(seconds: float) -> str:
    # A float holds microseconds of today's times; more decimals would be noise.
    return str(time_of(round(seconds * 1_000_000), per_second=1_000_000))


def _ago(entry: Usage, now: float) -> str:
    return f"{human_duration(max(0.0, now - entry.record.last_used))} ago"


def row_titles() -> str:
    """Return the line above the rows of `prune`."""
    return "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED"


def row(entry: Usage, *, now: float) -> str:
    """Return a record as a line with tabs."""
    fields = record(entry, now=now, marked=True)
    reclaimable = str(fields["Reclaimable"]).lower()
    return f"{fields['ID']:<40}\t{reclaimable:<5}\t{fields['Size']:<10}\t{fields['LastUsedAt']}"


def short_rows(rows: Sequence[Mapping[str, Value]]) -> list[Mapping[str, Value]]:
    """Return the rows of a table that fits a line: ids by their first digits, texts cut."""
    titles = {name: TITLES[name] for name in _FIELDS}
    return fitted([_short(row) for row in rows], titles, {"Description": (0, False)})


def _short(row: Mapping[str, Value]) -> Mapping[str, Value]:
    identifier = str(row["ID"])
    kind, dash, digits = identifier.rstrip("*").rpartition("-")
    mark = "*" if identifier.endswith("*") else ""
    reclaimable = str(row["Reclaimable"]).lower()
    return {
        **row,
        "ID": f"{kind}{dash}{digits[:_SHORT]}{mark}",
        "Reclaimable": reclaimable,
        "Description": _SAYS_LITTLE.sub(r"\1", str(row["Description"])),
    }


def with_why(
    row: Mapping[str, Value], reasons: Sequence[str], *, as_text: bool
) -> dict[str, Value]:
    """Return a record with the reasons why it is still here, as one text or as a list."""
    return {**row, "Why": "; ".join(reasons) if as_text else list(reasons)}


def pretty(
    entries: Iterable[Usage], *, now: float, why: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Return records with all that is known, one below the other, as `du` writes them.

    `why` has the reasons why each is still here, by id, if they are wanted.
    """
    blocks = []
    for entry in entries:
        block = _block(entry, now=now)
        if why is not None:
            lines = "".join(f" - {reason}\n" for reason in why[entry.record.id])
            block = f"{block.removesuffix(_END)}\nWhy:\n{lines}\n"
        blocks.append(_NAME.sub(_padded, block))
    return "".join(blocks)


def with_tabs(entries: Iterable[Usage], *, now: float) -> str:
    """Return the same, as `prune` writes them."""
    return align_with_tabs("".join(_block(entry, now=now) for entry in entries))


def _padded(name: re.Match[str]) -> str:
    return name[1].ljust(_NAME_WIDTH)


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
    return "\n".join(lines) + _END


def summary(entries: Sequence[Usage]) -> str:
    """Return the lines below a listing of all records."""
    total = sum(entry.size for entry in entries)
    shared = sum(entry.size for entry in entries if entry.shared)
    reclaimable = sum(entry.size for entry in entries if not entry.in_use)
    sizes = [("Reclaimable", reclaimable), ("Total", total)]
    if shared:
        sizes = [("Shared", shared), ("Private", total - shared), *sizes]
    return align_with_tabs("".join(f"{name}:\t{human_size(size)}\n" for name, size in sizes))
