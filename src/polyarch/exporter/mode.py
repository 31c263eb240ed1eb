"""What a folder is to hold besides a result: what it held, or nothing (`-o type=local,mode=...`)."""

from __future__ import annotations

from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.request import Output

__all__ = ["is_mirror"]


def is_mirror(output: Output) -> bool:
    """Tell whether a folder shall have what the result has, and nothing else. Raises InputError."""
    mode = output.attributes.get("mode", "").strip().lower()
    if mode not in {"", "copy", "delete"}:
        raise InputError(
            f"invalid local exporter mode {quote(output.attributes['mode'])}",
            hint="use copy or delete",
        )
    return mode == "delete"
