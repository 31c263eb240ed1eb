"""`--list`: the targets or the variables of a definition, as a table or as JSON."""

from __future__ import annotations

from polyarch.bakefile.config import Config
from polyarch.bakefile.variables import Shown
from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.json import indented
from polyarch.golang.strconv import quote
from polyarch.golang.tabwriter import align
from polyarch.record import frozen

__all__ = ["Listing", "listing", "read_listing"]

_TAB = 8


@frozen
class Listing:
    """What is listed, `targets` or `variables`, and how: `table` or `json`."""

    type: str
    format: str = "table"


def read_listing(text: str) -> Listing:
    """Read the value of `--list`. Raises InputError."""
    fields = csv_fields(text)
    found = {"type": "", "format": ""}
    if fields == [text] and not text.startswith("type="):
        found["type"] = text
    else:
        for each in fields:
            name, equals, value = each.partition("=")
            if not equals:
                raise InputError(
                    f"invalid value {each}",
                    hint="write --list=targets, or --list=type=targets,format=json",
                )
            name = name.strip().lower()
            if name not in found:
                raise InputError(f"unexpected key '{name}' in '{each}'")
            found[name] = value
    if found["type"] not in {"targets", "variables"}:
        raise InputError(
            f"invalid list type {quote(found['type'])}", hint="there are targets and variables"
        )
    if found["format"] not in {"", "table", "json"}:
        raise InputError(
            f"invalid list format {quote(found['format'])}", hint="there are table and json"
        )
    return Listing(type=found["type"], format=found["format"] or "table")


def listing(wanted: Listing, config: Config) -> str:
    """Return the text of a list."""
    if wanted.type == "variables":
        variables = sorted(config.variables, key=lambda each: each.name)
        rows = [["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"]]
        rows += [
            [each.name, each.type, "<null>" if each.value is None else each.value, each.description]
            for each in variables
        ]
        plain = [_plain_variable(each) for each in variables]
    else:
        plain, rows = _targets(config)
    if wanted.format == "json":
        return (
            indented(plain or None).decode() + "\n" if plain or wanted.type == "targets" else "[]\n"
        )
    text = "".join("\t".join(row) + "\n" for row in rows)
    return align(text, min_width=1, padding=1, tab_width=_TAB)


def _plain_variable(variable: Shown) -> dict[str, object]:
    whole = {
        "name": variable.name,
        "description": variable.description or None,
        "type": variable.type or None,
        "value": variable.value,
    }
    return {name: value for name, value in whole.items() if value is not None}


def _targets(config: Config) -> tuple[list[dict[str, object]], list[list[str]]]:
    entries: list[tuple[str, str, bool]] = [
        (each.name, each.description, False) for each in config.targets
    ]
    for group in config.groups:
        names = ", ".join(sorted(group.targets or ()))
        both = f"{group.description} ({names})" if group.description and names else ""
        entries.append((group.name, both or names or group.description, True))
    shown = sorted((each for each in entries if not each[0].startswith("_")), key=lambda e: e[0])
    plain: list[dict[str, object]] = []
    for name, description, is_group in shown:
        whole: dict[str, object] = {"name": name}
        if description:
            whole["description"] = description
        if is_group:
            whole["group"] = True
        plain.append(whole)
    return plain, [["TARGET", "DESCRIPTION"], *([name, text] for name, text, _group in shown)]
