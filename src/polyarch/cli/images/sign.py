"""`sign`: signatures of images that are at their registries already."""

from __future__ import annotations

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.errors import InputError
from polyarch.images.place import Place
from polyarch.images.places import Places, open_places
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import parse as parse_reference
from polyarch.request.signing import Signing
from polyarch.signing.opening import open_signers
from polyarch.signing.sign import sign_image

__all__ = ["SIGN"]


def _sign(options: Options, context: Context) -> int:
    signers = open_signers([_signing(options, context)], context.environ)
    with cancel_on_signals() as cancel, open_places(context.environ, cancel) as places:
        # All are looked up before the first is signed.
        for place, root in [_find(name, places) for name in options.arguments]:
            for digest in sign_image(place, root, signers, cancel):
                context.print(f"{place.name}@{digest}")
    return 0


def _signing(options: Options, context: Context) -> Signing:
    key, is_keyless = options.text("key"), options.is_set("keyless")
    if bool(key) == is_keyless:
        raise InputError(
            "who signs isn't said" if not key else "--key and --keyless cannot be used together",
            hint="sign by a key, --key FILE, or by an identity, --keyless",
        )
    if options.text("config") and not is_keyless:
        raise InputError("--config names services, which only --keyless asks")
    is_there = context.stdin.isatty() and context.stderr.isatty()
    return Signing(key=key, config=options.text("config"), may_ask=is_keyless and is_there)


def _find(name: str, places: Places) -> tuple[Place, Descriptor]:
    repository = places.repository(parse_reference(name))
    return repository, repository.resolve()


SIGN = Command(
    usage="[OPTIONS] IMAGE...",
    run=_sign,
    least=1,
    most=None,
    completes="images",
    example=(
        "$ polyarch sign --key cosign.key registry.example/you/app:v1\n"
        "$ polyarch sign --keyless registry.example/you/app:v1"
    ),
    description=(
        "Signs what a name stands for at its registry: the index, its images and their attestations. The signatures\n"
        "are put beside them, as cosign does, and `polyarch verify` and `cosign verify` find them there. The password of\n"
        "a key is that of the variable COSIGN_PASSWORD."
    ),
    flags=(
        Flag(name="config", help="File of the services that --keyless asks", completes="files"),
        Flag(name="key", help="Private key: a file, or env://NAME", completes="files"),
        Flag(
            name="keyless",
            kind=Kind.SWITCH,
            help="Sign by the identity of this CI's job, or of who logs in",
        ),
    ),
)
