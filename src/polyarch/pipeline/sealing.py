"""The signatures of what a build pushes: made before its names are set, so that no name stands for an unsigned image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.errors import InputError
from polyarch.images.place import Place, Seal
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken
from polyarch.request.outputs import is_pushed
from polyarch.request.signing import Signing
from polyarch.request.values import BuildRequest

__all__ = ["opened_seal", "sealing"]


def sealing(request: BuildRequest, environ: Mapping[str, str], cancel: CancelToken) -> Seal | None:
    """Return what signs an image at its registry, None if nobody is to sign; keys are read now.

    Raises InputError, before anything is built, for what can't be signed or by whom; MachineError, RemoteError.
    """
    if request.signing and not any(map(is_pushed, request.outputs)):
        raise InputError(
            "--sign signs what is pushed, and nothing of this build is",
            hint="push it with --push, or sign later: polyarch sign NAME",
        )
    return opened_seal(request.signing, environ, cancel)


def opened_seal(
    signing: Sequence[Signing], environ: Mapping[str, str], cancel: CancelToken
) -> Seal | None:
    """Return what signs an image as it is asked for, None if nobody is to. Raises as `sealing`."""
    if not signing:
        return None
    # Few builds sign, and the room knows libraries that take long to load.
    from polyarch.signing.opening import open_signers  # noqa: PLC0415
    from polyarch.signing.sign import sign_image  # noqa: PLC0415

    signers = open_signers(signing, environ)

    def seal(place: Place, root: Descriptor) -> None:
        sign_image(place, root, signers, cancel)

    return seal
