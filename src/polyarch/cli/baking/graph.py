"""`bake --graph`: targets, what they are built on, and what they have in common, as text, JSON or a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.pipeline.bakegraph import BakeGraph, GraphTarget, SharedStep
from polyarch.record import asdict

__all__ = ["render"]

_WIDTH, _HEIGHT = 220, 64
"""Of a target's box, in pixels."""
_ACROSS, _DOWN = 90, 24
"""Between boxes."""
_MARGIN = 24
_LINE = 18
_OPENING = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">
<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0 8 4 0 8z"/></marker></defs>"""


def render(graph: BakeGraph, form: str) -> str:
    """Return a graph as `form` has it. Raises InputError for a form that there isn't."""
    if form not in _FORMS:
        raise InputError(f"--graph can't be {form}", hint=f"use {', '.join(_FORMS)}")
    return _FORMS[form](graph)


def _text(graph: BakeGraph) -> str:
    rows = [("TARGET", "LEVEL", "PLATFORMS", "STEPS", "SHARED", "NEEDS")]
    for each in graph.targets:
        numbers = str(each.level), ",".join(each.platforms), str(each.steps), str(each.shared)
        rows.append((each.name, *numbers, ", ".join(each.needs)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    asked = sum(each.steps for each in graph.targets)
    lines += ["", f"{asked} steps of {len(graph.targets)} targets, of which {graph.steps} run"]
    if graph.shared:
        lines += ["", "Shared steps:"]
        lines += [f"  {each.name}: {_some(each.targets)}" for each in graph.shared]
    return "\n".join(lines) + "\n"


def _some(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _json(graph: BakeGraph) -> str:
    return indented(asdict(graph)).decode() + "\n"


def _svg(graph: BakeGraph) -> str:
    columns: dict[int, list[GraphTarget]] = {}
    for each in graph.targets:
        columns.setdefault(each.level, []).append(each)
    places = {
        each.name: (
            _MARGIN + level * (_WIDTH + _ACROSS),
            _MARGIN + row * (_HEIGHT + _DOWN),
        )
        for level, members in columns.items()
        for row, each in enumerate(members)
    }
    below = 2 * _MARGIN + max(map(len, columns.values()), default=0) * (_HEIGHT + _DOWN)
    height = below + (len(graph.shared) + 1) * _LINE + _MARGIN
    width = max(2 * _MARGIN + len(columns) * (_WIDTH + _ACROSS) - _ACROSS, 640)
    return "\n".join(
        (
            _OPENING.format(width=width, height=height),
            '<rect width="100%" height="100%" fill="white"/>',
            *_arrows(graph.targets, places),
            *(line for each in graph.targets for line in _box(each, places[each.name])),
            *_legend(graph.shared, below),
            "</svg>\n",
        )
    )


def _arrows(targets: Sequence[GraphTarget], places: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    for target in targets:
        x, y = places[target.name][0], places[target.name][1] + _HEIGHT // 2
        for other in target.needs:
            left, top = places[other][0] + _WIDTH, places[other][1] + _HEIGHT // 2
            middle = (left + x) // 2
            yield (
                f'<path d="M{left} {top}C{middle} {top} {middle} {y} {x} {y}" fill="none" '
                'stroke="black" marker-end="url(#end)"/>'
            )


def _box(target: GraphTarget, place: tuple[int, int]) -> Iterator[str]:
    x, y = place
    shared = f", {target.shared} shared" if target.shared else ""
    yield f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#eef3fa" stroke="#456"/>'
    yield f'<text x="{x + 10}" y="{y + 20}" font-weight="bold">{escape(target.name)}</text>'
    yield f'<text x="{x + 10}" y="{y + 38}">{escape(_some(target.platforms, 2))}</text>'
    yield f'<text x="{x + 10}" y="{y + 55}">{target.steps} steps{shared}</text>'


def _legend(shared: Sequence[SharedStep], top: int) -> Iterator[str]:
    for row, each in enumerate(shared, 1):
        said = escape(f"{each.name}: {_some(each.targets)}")
        yield f'<text x="{_MARGIN}" y="{top + row * _LINE}">{said}</text>'


_FORMS: Mapping[str, Callable[[BakeGraph], str]] = {"text": _text, "json": _json, "svg": _svg}
