"""Which layers are sent to a registry while they are compressed: those that are new, of an image that is pushed for certain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polyarch.exporter.outputs import is_true, names_of
from polyarch.images.places import Places
from polyarch.request.outputs import is_pushed
from polyarch.request.values import BuildRequest

if TYPE_CHECKING:
    from polyarch.images.early import EarlyPush

__all__ = ["pushing_early"]


@contextmanager
def pushing_early(request: BuildRequest, places: Places) -> Iterator[EarlyPush | None]:
    """Give what sends layers to the first repository that a build pushes to, None if it pushes nothing for certain.

    It sends nothing until it is begun. What is under way ends with the block. Raises InvalidReference.
    """
    # What may not be pushed after all isn't sent before.
    pushed = [] if request.if_changed else [each for each in request.outputs if is_pushed(each)]
    names = [name for each in pushed for name in names_of(each)]
    # A registry that is believed, whatever it says, is spoken to by another client.
    if not names or places.is_offline or any(is_true(each, "registry.insecure") for each in pushed):
        yield None
        return
    from polyarch.images.early import EarlyPush  # noqa: PLC0415 only builds that push have it

    with EarlyPush(places.repository(names[0])) as early:
        yield early
