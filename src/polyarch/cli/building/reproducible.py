"""`--verify-reproducible`: the build twice, and what isn't the same, with the cause as far as it is known.

The second build is that of another engine with a store of its own, which lies elsewhere and is empty: neither
cache nor cache mounts nor paths are those of the first. What the outputs ask for is done only if both are the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from polyarch.cli.building.prefixes import solving
from polyarch.cli.display.base import Display
from polyarch.engine.engine import Engine
from polyarch.errors import PolyarchError
from polyarch.images.comparing import ConfigDifference, LayerDifference, compare_images
from polyarch.images.culprits import Moments, find_cause
from polyarch.images.layout import Layout
from polyarch.library.builder import EngineBuilder
from polyarch.pipeline.build import build_on
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.request.values import BuildRequest, Output, OutputType

__all__ = ["check_reproducible", "findings"]

_APART = 2.1
"""Seconds between the builds."""
_FORMS = frozenset({
    "compression", "compression-level", "force-compression", "oci-mediatypes",
    "rewrite-timestamp", "source-date-epoch",
})  # fmt: skip
_IMAGES = frozenset({OutputType.DOCKER, OutputType.IMAGE, OutputType.OCI, OutputType.REGISTRY})


def check_reproducible(
    engine: Engine,
    request: BuildRequest,
    display: Display,
    cancel: CancelToken,
    tell: Callable[[str], object],
) -> None:
    """Build twice, `tell` what differs, line by line, and raise PolyarchError if anything does."""
    place = engine.store.temporary("reproducible")
    first, second = place / "first", place / "second"
    plain = replace(request, cache_to=(), if_changed="", signing=())
    start = time.time()
    try:
        with solving():
            outputs = (_layout(request, first),)
            build_on(engine, replace(plain, outputs=outputs), sink=display, cancel=cancel)
            _wait(cancel)
            apart = replace(plain, outputs=(_layout(request, second),), cache_from=())
            with EngineBuilder(root=place / "store", environ=engine.environ) as builder:
                builder.carry_out(apart, sink=display, cancel=cancel)
        layers, fields = compare_images(Layout(first), Layout(second))
    finally:
        if place.exists():
            engine.store.discard(place)
    lines = findings(layers, fields, Moments(start=start, end=time.time()))
    for line in lines:
        tell(line)
    if lines:
        raise PolyarchError(
            f"the build isn't reproducible: {_count(len(layers), 'layer')} and "
            f"{_count(len(fields), 'field')} of the config differ",
            hint="what differs first is told above; nothing was exported",
        )
    tell("The build is reproducible: a second one, from an empty store, is the same.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _wait(cancel: CancelToken) -> None:
    """Let the clock go on, or a time in whole seconds would be the same by chance; archives count in twos."""
    ended = threading.Event()
    forget = cancel.on_cancel(ended.set)
    ended.wait(_APART)
    forget()
    cancel.check()


def _layout(request: BuildRequest, directory: Path) -> Output:
    """Return an output into a directory that has the form of the first image that is asked for."""
    wanted = next((each for each in request.outputs if each.type in _IMAGES), None)
    given = wanted.attributes if wanted is not None else {}
    kept = {
        name: value
        for name, value in given.items()
        if name in _FORMS or name.startswith("annotation")
    }
    return Output(
        type=OutputType.OCI, destination=str(directory), attributes={**kept, "tar": "false"}
    )


def findings(
    layers: tuple[LayerDifference, ...], fields: tuple[ConfigDifference, ...], moments: Moments
) -> list[str]:
    """Return the lines that tell what differs, and what to do about it."""
    lines = []
    for layer in layers:
        lines += _layer_lines(layer, moments)
    for each in fields:
        is_time = each.field == "created" or each.field.endswith(".created")
        lines.append(
            f"{each.platform}: {each.field} of the config differs: {each.first} → {each.second}"
        )
        if is_time:
            lines.append("    time: set SOURCE_DATE_EPOCH, as a variable or by --build-arg")
    return lines


def _layer_lines(layer: LayerDifference, moments: Moments) -> list[str]:
    place = f"{layer.platform}: layer {layer.number} of {layer.layers}"
    step = f" ({layer.step.partition(' # buildkit')[0]})" if layer.step else ""
    if layer.file is None:
        return [
            f"{place}{step} differs, and none of its files does",
            "    it was compressed in another way",
        ]
    more = f", and {layer.others} more" if layer.others else ""
    cause = find_cause(layer.file, moments)
    return [
        f"{place}{step}: {layer.file.path} differs{more}",
        f"    {cause.kind}: {cause.text}",
        f"    {cause.remedy}",
    ]
