"""Images of all platforms -> what an output exports: with which attestations, and whether in an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.attest.statement import Predicate
from polyarch.exporter.annotations import INDEX_DESCRIPTOR, Annotations
from polyarch.exporter.assemble import ImageResult, assemble_index
from polyarch.exporter.attested import Attested, attest
from polyarch.exporter.naming import image_names
from polyarch.exporter.outputs import is_true, names_of
from polyarch.exporter.result import Export
from polyarch.exporter.types import Types
from polyarch.platforms import Platform
from polyarch.record import frozen
from polyarch.request.values import Output, OutputType

__all__ = ["Assembled"]

_TYPES = Types()


@frozen
class Assembled:
    """The images of a build.

    `is_index` says that they are in an index whatever is attested; `created` is in seconds; with `has_referrers`
    attestations are found by what they are about, and the index lists images alone.
    """

    images: tuple[ImageResult, ...]
    is_index: bool
    created: float
    annotations: Annotations
    types: Types = _TYPES
    has_referrers: bool = False

    def export(self, output: Output, predicates: Mapping[Platform, Sequence[Predicate]]) -> Export:
        """Return what an output exports. Raises InvalidReference, InputError."""
        attested = self._attested(output, predicates)
        is_index = self.is_index or bool(attested and not self.has_referrers)
        listed = () if self.has_referrers else attested
        root = self.images[0].manifest
        if is_index:
            root = assemble_index(self.images, self.annotations, self.types, listed)
        return Export(
            root=root,
            images=self.images,
            names=image_names(output, root.descriptor.digest),
            created=self.created,
            annotations=self.annotations.find(INDEX_DESCRIPTOR),
            attested=attested,
            has_referrers=self.has_referrers,
        )

    def _attested(
        self, output: Output, predicates: Mapping[Platform, Sequence[Predicate]]
    ) -> tuple[Attested, ...]:
        """Return the statements of an output.

        What is for images in an index alone is left out where there is no other reason to have one, unless the output is
        an image: so it is in BuildKit.
        """
        # Docker's media types know none.
        if not self.types.is_oci or not self._has_any(output, predicates):
            return ()
        # A platform that is asked for twice is attested once.
        images = {image.platform: image for image in self.images}
        return tuple(
            attest(
                image.manifest.descriptor,
                platform,
                predicates[platform],
                names_of(output),
                is_artifact=self.has_referrers or is_true(output, "oci-artifact", default=True),
            )
            for platform, image in images.items()
            if predicates.get(platform)
        )

    def _has_any(self, output: Output, predicates: Mapping[Platform, Sequence[Predicate]]) -> bool:
        default = output.type in {OutputType.IMAGE, OutputType.REGISTRY}
        takes_all = is_true(output, "attestation-inline", default=default)
        said = [each for found in predicates.values() for each in found]
        if self.has_referrers:
            return takes_all or any(not each.inline_only for each in said)
        return self.is_index or takes_all or any(not each.inline_only for each in said)
