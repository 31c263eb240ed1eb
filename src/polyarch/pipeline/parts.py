"""Parts of an image that other machines have pushed, by their digests -> one image, signed if need be, under all its names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import TypeVar

from polyarch.engine.engine import Engine
from polyarch.errors import InputError
from polyarch.exporter.outputs import IMAGE_TYPES, is_true
from polyarch.images.create import Asked, make, publish
from polyarch.images.names import RegistryName, Source
from polyarch.images.place import Seal
from polyarch.images.places import Places, open_places
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Sink, step
from polyarch.record import frozen, replace
from polyarch.request.outputs import is_pushed
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest, Output, OutputType

__all__ = ["Joining", "by_digest", "check_joinable", "check_sealable", "of_platforms"]

_T = TypeVar("_T")


def check_joinable(outputs: Sequence[Output]) -> None:
    """Raise InputError for outputs of which parts can't be joined: files can, and one image that is pushed."""
    images = [output for output in outputs if output.type in IMAGE_TYPES]
    if len(images) > 1:
        raise InputError(
            "parts of several nodes can be joined for one image only",
            hint='name all images in one: -o type=image,"name=A,B",push=true',
        )
    for output in images:
        if not is_pushed(output):
            raise InputError(
                "images of several nodes can only be joined at a registry",
                hint="push the image: --push, or build for one platform at a time",
            )


def check_sealable(outputs: Sequence[Output]) -> None:
    """Raise InputError for outputs of which it wouldn't be known what was pushed: another machine tells the last one's digest."""
    wanted = [output for output in outputs if output.type != OutputType.CACHEONLY]
    if len(wanted) > 1:
        raise InputError(
            "what builders of other machines push is signed for one output only",
            hint='name all images in one: -o type=image,"name=A,B",push=true',
        )


def by_digest(request: BuildRequest) -> BuildRequest:
    """Return a request of which the image is pushed without a name."""
    outputs = tuple(
        replace(
            each,
            attributes={
                **each.attributes,
                "name": ",".join(dict.fromkeys(name.short for name in _names(each))),
                "push": "true",
                "push-by-digest": "true",
            },
        )
        if each.type in IMAGE_TYPES
        else each
        for each in request.outputs
    )
    return replace(request, outputs=outputs, tags=())


def _names(output: Output) -> list[RegistryName]:
    found = filter(None, output.attributes.get("name", "").split(","))
    return [RegistryName(reference=parse_reference(each)) for each in found]


def of_platforms(result: BuildResult, platforms: Sequence[Platform]) -> BuildResult:
    """Return a part's result as part of a larger one: what a single platform has without a name gets that of the platform."""
    if len(platforms) != 1:
        return result
    provenance = {name or str(platforms[0]): text for name, text in result.provenance.items()}
    return replace(result, provenance=provenance)


@frozen
class Joining:
    """Makes wholes of parts; `seal` signs each before it has a name."""

    engine: Engine
    sink: Sink
    cancel: CancelToken
    seal: Seal | None = None

    def joined(self, request: BuildRequest, results: Sequence[BuildResult]) -> BuildResult:
        """Give the parts one index under all names, if they are images. Raises RegistryError, and what signers raise."""
        root: Descriptor | None = None
        with self._places(request) as places:
            for same in _by_place(_pushed_names(request)):
                sources = tuple(
                    Source(name=same[0].with_digest(result.digest)) for result in results
                )
                asked = Asked(sources=sources, names=same)
                made = make(asked, places)
                publish(asked, made, places, self.sink, self.cancel, self.seal)
                root = made.descriptor
        return replace(
            _named(request, results[0], root),
            config_digest=None,
            manifests=_together(result.manifests for result in results),
            sizes=_together(result.sizes for result in results),
            emulators=_together(result.emulators for result in results),
            provenance=_together(result.provenance for result in results),
            explanations=tuple(chain.from_iterable(result.explanations for result in results)),
            emulated=tuple(chain.from_iterable(result.emulated for result in results)),
            ran=sum(result.ran for result in results),
            cached=sum(result.cached for result in results),
        )

    def named(self, request: BuildRequest, result: BuildResult) -> BuildResult:
        """Sign what was pushed without a name, and give it its names. Raises RegistryError, and what signers raise."""
        assert self.seal is not None
        with self._places(request) as places:
            for same in _by_place(_pushed_names(request)):
                place = places.at(same[0].place)
                with step(self.sink, f"[internal] pushing {same[0].short}") as shown:
                    root, data = place.load(result.digest)
                    with shown.part(f"signing {root.digest}"):
                        self.seal(place, root)
                    for name in same:
                        with shown.part(f"pushing {root.digest} to {name}"):
                            place.tag(name.tag, root, data)
        return _named(request, result, result.descriptor)

    @contextmanager
    def _places(self, request: BuildRequest) -> Iterator[Places]:
        """Give the places of what was pushed; registries are believed if the output says so."""
        domains = {
            name.reference.domain
            for output in request.outputs
            if is_pushed(output) and is_true(output, "registry.insecure")
            for name in _names(output)
        }
        with ExitStack() as stack:
            places = stack.enter_context(open_places(self.engine.environ, self.cancel))
            for domain in sorted(domains):
                places = stack.enter_context(places.trusting(domain))
            yield places


def _pushed_names(request: BuildRequest) -> list[RegistryName]:
    return [name for output in request.outputs if is_pushed(output) for name in _names(output)]


def _by_place(names: Iterable[RegistryName]) -> Iterable[tuple[RegistryName, ...]]:
    """Return names by their repositories, which hold one copy of an image for all of theirs."""
    found: dict[str, dict[RegistryName, None]] = {}
    for name in names:
        found.setdefault(name.place, {})[name] = None
    return [tuple(same) for same in found.values()]


def _named(request: BuildRequest, result: BuildResult, root: Descriptor | None) -> BuildResult:
    """Return a result as what it is with its names."""
    names = tuple(dict.fromkeys(map(str, _pushed_names(request))))
    return replace(result, descriptor=root, names=names, ref=request.ref)


def _together(parts: Iterable[Mapping[str, _T]]) -> dict[str, _T]:
    return {name: value for part in parts for name, value in part.items()}
