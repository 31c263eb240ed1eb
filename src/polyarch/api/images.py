"""Images of the local store, of registries and of layouts: listed, pushed, pulled and joined.

    polyarch.pull("alpine", platforms=["linux/arm64"])
    polyarch.push("registry.example/you/app")
    polyarch.merge(["registry.example/you/app:1-amd64", "registry.example/you/app:1-arm64"],
                   tags=["registry.example/you/app:1"])

All of it is done in the process of the caller, as it needs no engine. Credentials and settings of registries are the
user's, as on the command line.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from polyarch.api.watching import Progress, in_thread, shown
from polyarch.errors import InputError
from polyarch.golang.json import compact
from polyarch.images import local
from polyarch.images.create import Asked, make, publish
from polyarch.images.local import StoredImage
from polyarch.images.merge import Merged
from polyarch.images.names import parse_name, parse_sources
from polyarch.images.places import open_places
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.paths import state_directory
from polyarch.platforms import Platform, host, normalize
from polyarch.progress import CancelToken, Event, Sink, ignore_events
from polyarch.record import replace
from polyarch.request.annotation import Annotation
from polyarch.request.make import read_platforms, several
from polyarch.store.store import Store

__all__ = ["list_images", "merge", "merge_async", "pull", "pull_async", "push", "push_async"]

Root = str | os.PathLike[str] | None
"""The directory of the store; None where the command line has it."""


def list_images(*, root: Root = None) -> tuple[StoredImage, ...]:
    """Return the images of the local store, by name. Raises StoreError, IntegrityError."""
    with _open_store(root) as store:
        return local.list_images(store)


def pull(
    name: str | Reference,
    *,
    platforms: Sequence[str | Platform] = (),
    all_platforms: bool = False,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    root: Root = None,
) -> Descriptor:
    """Fetch an image from its registry and keep its name in the local store; return its index or manifest.

    Without `platforms` it is fetched for this machine's. `progress` shows that to people, on standard error.
    `sink` is called with one event at a time, from several threads; an exception that it raises ends the
    pull. So do `cancel`, which raises Cancelled, and a Ctrl-C. What has come by then stays for the next one.
    Raises NotFound, RegistryError, IntegrityError, StoreError; InputError for what contradicts itself.
    """
    wanted = read_platforms(platforms)
    if wanted and all_platforms:
        raise InputError("platforms and all_platforms cannot be used together")
    if not wanted and not all_platforms:
        wanted = (host(),)
    reference, token = _reference(name), cancel or CancelToken()
    with (
        _open_store(root) as store,
        open_places(os.environ, token) as places,
        _watched(progress, sink, "Pulling") as watched,
    ):
        return local.pull_image(store, places, reference, wanted, sink=watched, cancel=token)


def push(
    name: str | Reference,
    *,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    root: Root = None,
) -> Descriptor:
    """Push an image of the local store under its name, for all of its platforms; return its index or manifest.

    Nothing is uploaded that the registry has, and layers are mounted from where they are known to be. As `pull`
    otherwise. Raises NotFound, also for a platform that isn't here; RegistryError, StoreError, Cancelled.
    """
    reference, token = _reference(name), cancel or CancelToken()
    with (
        _open_store(root) as store,
        open_places(os.environ, token) as places,
        _watched(progress, sink, "Pushing") as watched,
    ):
        return local.push_image(store, places, reference, sink=watched, cancel=token).root


def merge(
    sources: Sequence[str | Descriptor],
    *,
    tags: Sequence[str] = (),
    platforms: Sequence[str | Platform] = (),
    annotations: Sequence[Annotation] = (),
    prefer_index: bool = True,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Merged:
    """Make one image of several, at registries and in layouts, without building anything.

    `sources` are names, addresses `oci-layout://DIRECTORY[:TAG][@DIGEST]`, and digests or descriptors in the only
    place that is named. The result gets the names `tags`, with all that it needs, and signatures and attestations
    of it; without any, nothing is written. `platforms` keeps those alone. A single manifest becomes an index of one unless `prefer_index` is false. As `pull` otherwise.

    Raises InputError for what can't be joined, NotFound, RegistryError, IntegrityError, StoreError, Cancelled.
    """
    names = tuple(map(parse_name, several(tags)))
    asked = Asked(
        sources=parse_sources(map(_text, _listed(sources)), names),
        names=names,
        annotations=tuple(map(_normalized, annotations)),
        platforms=read_platforms(platforms),
        prefer_index=prefer_index,
    )
    token = cancel or CancelToken()
    with open_places(os.environ, token) as places:
        made = make(asked, places)
        if names:
            with _watched(progress, sink, "Creating") as watched:
                publish(asked, made, places, watched, token)
        return made


async def pull_async(
    name: str | Reference,
    *,
    platforms: Sequence[str | Platform] = (),
    all_platforms: bool = False,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    root: Root = None,
) -> Descriptor:
    """Pull as `pull` does, in a thread; cancelling the task cancels the pull and waits for its end."""
    work = partial(
        pull,
        name,
        platforms=platforms,
        all_platforms=all_platforms,
        sink=sink,
        progress=progress,
        root=root,
    )
    return await in_thread(lambda token: work(cancel=token), cancel)


async def push_async(
    name: str | Reference,
    *,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    root: Root = None,
) -> Descriptor:
    """Push as `push` does, in a thread; cancelling the task cancels the push and waits for its end."""
    work = partial(push, name, sink=sink, progress=progress, root=root)
    return await in_thread(lambda token: work(cancel=token), cancel)


async def merge_async(
    sources: Sequence[str | Descriptor],
    *,
    tags: Sequence[str] = (),
    platforms: Sequence[str | Platform] = (),
    annotations: Sequence[Annotation] = (),
    prefer_index: bool = True,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> Merged:
    """Join images as `merge` does, in a thread; cancelling the task cancels that and waits for its end."""
    work = partial(
        merge,
        sources,
        tags=tags,
        platforms=platforms,
        annotations=annotations,
        prefer_index=prefer_index,
        sink=sink,
        progress=progress,
    )
    return await in_thread(lambda token: work(cancel=token), cancel)


def _open_store(root: Root) -> Store:
    return Store(state_directory() if root is None else Path(os.path.abspath(root)))


@contextmanager
def _watched(progress: Progress | None, sink: Sink, work: str) -> Iterator[Sink]:
    """Give a sink for several threads that shows events to people and calls `sink`, one at a time."""
    lock = threading.Lock()
    with shown(progress, sink, work=work) as watched:

        def alone(event: Event) -> None:
            with lock:
                watched(event)

        yield alone


def _reference(name: str | Reference) -> Reference:
    return parse_reference(name) if isinstance(name, str) else name


def _listed(sources: Sequence[str | Descriptor]) -> Sequence[str | Descriptor]:
    return (sources,) if isinstance(sources, str) else sources


def _text(source: str | Descriptor) -> str:
    return source if isinstance(source, str) else compact(source.to_json()).decode()


def _normalized(asked: Annotation) -> Annotation:
    return asked if asked.platform is None else replace(asked, platform=normalize(asked.platform))
