"""What a build has beside itself: nothing, or other builds that are solved with it in one graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from polyarch.attest.sources import Remote, Resolved
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.dockerfile.lowering.named import Linked
from polyarch.engine.engine import Engine
from polyarch.engine.parts import Built, Part
from polyarch.pipeline.directories import Directories
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen
from polyarch.request.values import BuildRequest
from polyarch.worker.reach import Reach
from polyarch.worker.source_image import ImageSource

if TYPE_CHECKING:
    from polyarch.pipeline.fetched import Fetched

__all__ = ["ALONE", "Company", "Meaning"]


@frozen
class Meaning:
    """What a request means, for those who build on it: its results by platform, and what they were made of.

    `resolved` are the images that names stood for, `pins` the commits and digests of what was fetched.
    """

    lowered: Sequence[Lowered]
    resolved: Sequence[Resolved]
    pins: MutableMapping[Remote, str]


class Company:
    """A build by itself. Others are `polyarch.pipeline.bake`'s."""

    has_others = False
    reach: Reach | None = None
    """What is known of the layers of caches by all who are solved together; None if that is one by itself."""

    @property
    def linked(self) -> Callable[[str, Platform], Linked] | None:
        """What gives the results of other builds, None if there are no others."""
        return None

    def sink(self, sink: Sink) -> Sink:
        """Return what is told of all that happens."""
        return sink

    def directories(self, engine: Engine, /) -> Directories:
        """Return what opens the directories of contexts."""
        return Directories(engine.store.stat_index)

    def fetched(self, _key: Hashable, fetch: Callable[[], Fetched | None], /) -> Fetched | None:
        """Return a context that is fetched once for all builds; its key has all that decides on what it is. Raises as `fetch`."""
        return fetch()

    def place_of(self, _key: Hashable, /) -> str:
        """Return what tells a context that is fetched from those of other builds."""
        return ""

    def resolver(
        self, images: ImageSource, request: BuildRequest, cancel: CancelToken, /
    ) -> BaseImages:
        """Return what resolves the names of base images."""
        return images.resolver(cancel, pull=request.pull)

    def understood(self, meaning: Meaning) -> Meaning:
        """Take what the request means; return it with what it was made of by others."""
        return meaning

    def solve(self, engine: Engine, part: Part, cancel: CancelToken, /) -> Built:
        """Solve a graph. Raises what a step of it raises."""
        return engine.solve(part, cancel)

    def read(self, directories: Directories) -> None:
        """Take that contexts have been read."""
        directories.save()

    def exporting(self) -> AbstractContextManager[object]:
        """Return a block in which a build brings its results where they are to be."""
        return nullcontext()

    def kept(self) -> AbstractContextManager[None]:
        """Return a block in which all is kept open that steps need, as long as any build needs it."""
        return nullcontext()


ALONE = Company()
