"""A build of a Dockerfile that heeds the rules of its client for base images."""

from __future__ import annotations

from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.oci.base import BaseImage
from polyarch.pipeline.company import Company
from polyarch.platforms import Platform
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.values import BuildRequest
from polyarch.serve.policies import Policy
from polyarch.worker.source_image import ImageSource

__all__ = ["Heeding"]


class Heeding(Company):
    """A build by itself; `policy` may want other images than the Dockerfile names."""

    policy: Policy | None = None

    def resolver(
        self, images: ImageSource, request: BuildRequest, cancel: CancelToken, /
    ) -> BaseImages:
        """See Company."""
        found = super().resolver(images, request, cancel)
        return found if self.policy is None else _Replaced(images=found, policy=self.policy)


@frozen
class _Replaced:
    """Resolves the names that a policy wants instead of those of a Dockerfile."""

    images: BaseImages
    policy: Policy

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        """See BaseImages. Raises InputError for an image that isn't allowed."""
        # Addresses of layouts and results are names of ours.
        name = reference if "://" in reference else self.policy.image(reference)
        return self.images.resolve(name, platform)
