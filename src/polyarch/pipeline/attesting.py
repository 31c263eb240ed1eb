"""What a build attests: gathered while it goes on, said when its layers are there."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polyarch.attest import provenance
from polyarch.attest.invocations import NOBODY, Invocation, Invocations
from polyarch.attest.options import AttestOptions, ProvenanceOptions
from polyarch.attest.parameters import Parameters, hidden_values, parameters
from polyarch.attest.sources import Remote, Resolved, find_sources, for_platform
from polyarch.attest.statement import Predicate
from polyarch.attest.steps import Hiding
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.dockerfile.lowering.lowering import BaseImages, LowerOptions
from polyarch.exporter.assemble import ImageResult
from polyarch.exporter.outputs import Forms
from polyarch.golang.json import compact
from polyarch.graph.graph import walk
from polyarch.graph.location import SourceText
from polyarch.graph.op import GitOp, HttpOp, JSONObject
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import BaseImage
from polyarch.pipeline.contexts import Contexts
from polyarch.platforms import Platform, host, normalize
from polyarch.record import field, frozen, replace
from polyarch.request.attestation import PROVENANCE, SBOM, Attestation
from polyarch.request.ref import build_id
from polyarch.request.values import BuildRequest
from polyarch.store.database import Database

if TYPE_CHECKING:
    from polyarch.pipeline.listing import Found

__all__ = ["Attesting", "Noted", "Said", "forms_of", "targets_of", "with_arguments"]

_ARGUMENT = "BUILDKIT_ATTEST_"
_NONE = Parameters(args={}, vcs={}, path="")
_FULL = ProvenanceOptions(mode="max")


def with_arguments(request: BuildRequest) -> BuildRequest:
    """Return the request with the attestations that build arguments ask for: `BUILDKIT_ATTEST_SBOM=...`.

    Flags win. Source: BuildKit's `frontend/attestations/parse.go`.
    """
    named = {each.type for each in request.attestations}
    found = []
    for name, value in request.build_args.items():
        kind = name.removeprefix(_ARGUMENT).lower()
        if name.startswith(_ARGUMENT) and kind in {PROVENANCE, SBOM} and kind not in named:
            pairs = (each.partition("=") for each in value.split(",") if each)
            attributes = {key: setting for key, equals, setting in pairs if equals}
            found.append(Attestation(type=kind, attributes=attributes))
    return replace(request, attestations=(*request.attestations, *found)) if found else request


def forms_of(
    request: BuildRequest,
    attestations: AttestOptions,
    options: LowerOptions,
    platforms: tuple[Platform, ...],
) -> Forms:
    """Return what outputs have to be able to hold."""
    is_listed = request.attest_as == "index"
    return Forms(
        platforms=platforms,
        is_index=options.is_multi_platform,
        is_attested=is_listed and attestations.is_for_files,
        is_attested_inline=is_listed and attestations.provenance is not None,
    )


def targets_of(lowered: Sequence[Lowered], *, has_scans: bool) -> tuple[Vertex, ...]:
    """Return what is to be solved: the results, and what is looked into beside them, or lists them."""
    beside: list[Vertex] = []
    for part in lowered if has_scans else ():
        beside += part.scanned.values() if part.lister is None else (part.lister,)
    return (*(each.vertex for each in lowered), *dict.fromkeys(beside))


@frozen
class Noted:
    """Resolves base images and notes what their names stood for."""

    images: BaseImages
    resolved: list[Resolved] = field(default_factory=list)

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        """Return the image of that name for that platform; raises as what it asks."""
        image = self.images.resolve(reference, platform)
        self.resolved.append(Resolved.of(image, platform))
        return image


@frozen
class Attesting:
    """Says what a build attests.

    `pins` are the commits and digests of all that was fetched, `started` when the build began, in nanoseconds. Without a
    `dockerfile` the graph came as it is.
    """

    request: BuildRequest
    options: AttestOptions
    database: Database
    dockerfile: SourceText | None
    contexts: Contexts
    resolved: Sequence[Resolved]
    pins: Mapping[Remote, str]
    started: int

    @property
    def is_wanted(self) -> bool:
        """Whether anything is to be said."""
        return bool(self.options.provenance or self.options.sbom or self.request.result_provenance)

    def say(
        self,
        results: Sequence[Lowered],
        images: Sequence[ImageResult],
        scans: Sequence[Found],
        *,
        is_cached: bool,
    ) -> Said:
        """Return what there is to say of each platform's result; `images` are those of the same order, if there are any.

        `scans` are what was found in each result, and beside it by name, if that is to be said; or lists that are
        made already.

        Raises InputError, StoreError.
        """
        facts = [self._facts(part, results, image) for part, image in _paired(results, images)]
        name = build_id(int.from_bytes(os.urandom(17)))
        run = Invocation(id=name, started=self.started, finished=time.time_ns())
        asked = self.options.provenance or _FULL
        contents = [compact(provenance.predicate(each, asked, NOBODY)) for each in facts]
        contents += [image.manifest.descriptor.digest.encode() for image in images]
        invocations = Invocations(self.database)
        epoch = results[0].epoch
        invocation = invocations.settle(contents, run, is_cached=is_cached, epoch=epoch)
        return Said(
            predicates={
                part.platform: (
                    *(self._lists(scans[number], invocation) if scans else ()),
                    *self._predicates(facts[number], invocation),
                )
                for number, part in enumerate(results)
            },
            told={
                str(part.platform) if results[0].is_multi_platform else "": self._told(
                    each, invocation
                )
                for part, each in zip(results, facts, strict=True)
                if self.request.result_provenance
            },
            invocation=invocation,
        )

    def _lists(self, scans: Found, invocation: Invocation) -> tuple[Predicate, ...]:
        if isinstance(scans, tuple):
            return scans
        from polyarch.attest.sbom.documents import sbom_predicates  # noqa: PLC0415 few ask for them

        assert self.options.sbom is not None
        seconds = invocation.started // 1_000_000_000
        return tuple(sbom_predicates(scans, self.options.sbom, seconds))

    def _predicates(self, facts: provenance.Facts, invocation: Invocation) -> tuple[Predicate, ...]:
        options = self.options.provenance
        if options is None:
            return ()
        made = provenance.predicate(facts, options, invocation)
        is_old = options.version == "v0.2"
        return (
            Predicate(
                type=provenance.predicate_type(options),
                content=provenance.older(made) if is_old else provenance.newest(made),
                filename=options.filename,
                inline_only=options.inline_only,
            ),
        )

    def _told(self, facts: provenance.Facts, invocation: Invocation) -> str:
        """Return the provenance for those who asked for the build; "min" tells arguments, too, as buildx does."""
        told: JSONObject = provenance.older(provenance.predicate(facts, _FULL, invocation))
        if self.request.result_provenance == "min":
            del told["metadata"], told["buildConfig"]
        return compact(told).decode()

    def _facts(
        self, part: Lowered, results: Sequence[Lowered], image: ImageResult | None
    ) -> provenance.Facts:
        platforms = [each.platform for each in results]
        remote = {
            name: fetched.source
            for name, fetched in self.contexts.trees.fetched.items()
            if fetched.source is not None
        }
        resolved = for_platform(self.resolved, part.platform, platforms)
        pins = self._pins(part, results)
        hidden = hidden_values(self.request)
        return provenance.Facts(
            parameters=_NONE if self.dockerfile is None else parameters(self.request),
            sources=find_sources(part.vertex, resolved, pins, remote),
            target=part.vertex,
            dockerfile=self.dockerfile,
            builder=normalize(host()),
            layers=[layer.descriptor for layer in image.layers] if image else (),
            config=remote.get("context"),
            remote=remote,
            hiding=Hiding(names=frozenset(self.request.build_args), values=hidden),
        )

    def _pins(self, part: Lowered, results: Sequence[Lowered]) -> dict[Remote, str]:
        """Return what was fetched, but for what only another platform's result takes something from."""
        mine, others = _fetched(part), set[Remote]()
        for each in results:
            others |= _fetched(each)
        return {op: pin for op, pin in self.pins.items() if op in mine or op not in others}


@frozen
class Said:
    """What is said of a build: by platform what is attested, and what those who asked for it are told.

    `invocation` is the run that it tells of.
    """

    predicates: Mapping[Platform, tuple[Predicate, ...]] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    invocation: Invocation = NOBODY

    def after(self, given: Mapping[Platform, tuple[Predicate, ...]]) -> Said:
        """Return the same after what others say."""
        both = {**given, **self.predicates}
        merged = {each: (*given.get(each, ()), *self.predicates.get(each, ())) for each in both}
        return replace(self, predicates=merged) if given else self


def _paired(
    results: Sequence[Lowered], images: Sequence[ImageResult]
) -> list[tuple[Lowered, ImageResult | None]]:
    return [(part, images[number] if images else None) for number, part in enumerate(results)]


def _fetched(part: Lowered) -> set[Remote]:
    return {each.op for each in walk((part.vertex,)) if isinstance(each.op, GitOp | HttpOp)}
