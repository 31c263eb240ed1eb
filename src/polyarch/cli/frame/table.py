r"""Listings: records -> aligned columns, JSON lines, or whatever a template makes of them.

`--format` is understood as docker understands it:

    "" or table              the command's own columns
    table {{.A}}\t{{.B}}     columns by a template, with the titles of its fields above
    json                     one JSON object per line
    {{.A}} of {{.B}}         a template for each record, nothing above
    pretty                   left to the command
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from polyarch.golang import tabwriter
from polyarch.golang.template.template import Template, parse_template
from polyarch.golang.template.values import Value
from polyarch.record import frozen
from polyarch.text.shown import shown

__all__ = [
    "LINE",
    "Format",
    "align",
    "align_with_tabs",
    "clipped",
    "fitted",
    "parse_format",
    "table_width",
]

_TABLE = "table"
_MIN_WIDTH = 10
_PADDING = 3
_TAB_WIDTH = 8
LINE = 80
"""The width of a terminal, and of tables that are fitted."""


def align(text: str, *, min_width: int = _MIN_WIDTH, padding: int = _PADDING) -> str:
    """Turn tabs into blanks as docker's listings do; nothing in them speaks to the terminal."""
    return shown(tabwriter.align(text, min_width=min_width, padding=padding))


def align_with_tabs(text: str) -> str:
    """Align what stands behind tabs as buildx's `du` does, with as many tabs as that takes."""
    return tabwriter.align(text, min_width=1, padding=1, tab_width=_TAB_WIDTH)


def clipped(text: str, room: int, *, from_start: bool = False) -> str:
    """Cut a text to `room` characters, an ellipsis in the place of what is cut off its end or start."""
    if len(text) <= room:
        return text
    return f"…{text[1 - room :]}" if from_start else f"{text[: room - 1]}…"


def fitted(
    rows: Sequence[Mapping[str, Value]],
    titles: Mapping[str, str],
    flexible: Mapping[str, tuple[int, bool]],
) -> list[Mapping[str, Value]]:
    """Return rows whose cells are cut so that a table of them, as `align` makes it, has 80 columns.

    `titles` are those of the table's columns, in their order; `flexible` are the columns to cut, in
    this order, with the least that stays and whether the start is cut off. What isn't flexible may
    still make the table wider.
    """
    fitting = list(rows)
    for name, (least, from_start) in flexible.items():
        excess = table_width(fitting, titles) - LINE
        if excess <= 0:
            break
        longest = max(len(str(row[name])) for row in fitting)
        room = max(least, len(titles[name]), longest - excess)
        fitting = [
            {**row, name: clipped(str(row[name]), room, from_start=from_start)} for row in fitting
        ]
    return fitting


def table_width(rows: Sequence[Mapping[str, Value]], titles: Mapping[str, str]) -> int:
    """Return how wide a table of these rows is, as `align` makes it."""
    *columns, last = [
        max(len(title), *(len(str(row[name])) for row in rows)) if rows else len(title)
        for name, title in titles.items()
    ]
    return sum(max(_MIN_WIDTH, width + _PADDING) for width in columns) + last


@frozen
class Format:
    """How records are listed; `template` is None for pretty alone."""

    is_table: bool
    template: Template | None

    def render(
        self, records: Iterable[Value], *, titles: Mapping[str, str], record: str = ""
    ) -> str:
        """List `records`, each with an end of line; `titles` are those of the fields in a table.

        Raises InputError where the template asks for what isn't there: a field that is none of a
        record's is only tolerated if `record`, the name that errors give to records, is "".
        """
        if self.template is None:
            return ""
        lines = [self.template.render(item, record=record) for item in records]
        if self.is_table:
            lines.insert(0, self.template.render_header(titles))
        text = "".join(f"{line}\n" for line in lines)
        return align(text) if self.is_table else text


def parse_format(text: str, *, default: str) -> Format:
    """Understand the value of `--format`; `default` is the template of the command's own columns.

    Raises InputError for a template that doesn't parse.
    """
    if text == "pretty":
        return Format(is_table=False, template=None)
    if text == "json":
        return Format(is_table=False, template=parse_template("{{json .}}"))
    is_table = text == "" or text.startswith(_TABLE)
    source = text.removeprefix(_TABLE).strip(" ") if is_table else text.strip(" ")
    # Shells pass \t and \n on as they were typed.
    source = source.replace("\\t", "\t").replace("\\n", "\n")
    return Format(is_table=is_table, template=parse_template(source or default))
