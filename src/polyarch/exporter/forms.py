"""The forms that outputs want of an image: what makes two images of the same results differ.

Outputs that want the same get the same image, made once. Which attributes go together is BuildKit's rule
(`exporter/containerimage/opts.go`), and so are the messages.
"""

from __future__ import annotations

from collections.abc import Iterable

from polyarch.errors import InputError
from polyarch.exporter.annotations import (
    INDEX,
    INDEX_DESCRIPTOR,
    MANIFEST_DESCRIPTOR,
    Annotations,
)
from polyarch.exporter.layers import CompressionChoice
from polyarch.exporter.outputs import IMAGE_TYPES, Forms, epoch_of, is_true
from polyarch.exporter.types import Types
from polyarch.golang.strconv import parse_int
from polyarch.layer.kinds import Compression
from polyarch.record import frozen, replace
from polyarch.request.values import Output

__all__ = ["Form", "as_before", "check_forms", "form_of"]

_VERSIONS = (10, 20, 30)
"""Versions of what BuildKit writes: 0.13, 0.15 and 0.31. Only the last one has OCI's media types by default."""


_TYPES = Types()
_HINT = "leave oci-mediatypes=false out"


@frozen
class Form:
    """How an image is written.

    `epoch` is the latest time of what is new in it, in seconds.
    """

    choice: CompressionChoice
    annotations: Annotations
    epoch: int | None = None
    types: Types = _TYPES


def form_of(output: Output, epoch: int | None) -> Form:
    """Return the form that an output asks for; `epoch` is the build's. Whether it can be had is known to `check_forms`.

    Raises InputError, InvalidPlatform.
    """
    attributes = output.attributes
    epoch = epoch_of(output, epoch)
    choice = CompressionChoice.of(attributes)
    choice = replace(choice, is_forced=is_true(output, "force-compression"))
    if is_true(output, "rewrite-timestamp"):
        choice = replace(choice, latest=epoch)
    form = Form(
        choice=choice,
        annotations=Annotations.parse(output.attributes),
        epoch=epoch,
        types=Types(
            is_oci=is_true(output, "oci-mediatypes", default=_is_recent(output)),
            keeps_foreign=is_true(output, "prefer-nondist-layers"),
        ),
    )
    _check(form, output)
    return form


def as_before(outputs: Iterable[Output], forms: Forms) -> tuple[Output, ...]:
    """Spell out what older versions of BuildKit do with what is attested: OCI's media types, which it needs.

    Raises InputError for a version that there wasn't.
    """
    if not (forms.is_attested or forms.is_attested_inline):
        return tuple(outputs)
    old = {"oci-mediatypes": "true", "oci-artifact": "false"}
    return tuple(
        each
        if each.type not in IMAGE_TYPES or _is_recent(each)
        else replace(each, attributes={**old, **each.attributes})
        for each in outputs
    )


def check_forms(outputs: Iterable[Output], forms: Forms) -> None:
    """Refuse, before anything is built, what images can't be. Raises InputError, InvalidPlatform."""
    for output in outputs:
        if output.type in IMAGE_TYPES:
            form = form_of(output, None)
            if forms.is_attested and not form.types.is_oci:
                raise InputError(
                    'cannot export attestations with "oci-mediatypes=false"', hint=_HINT
                )


def _is_recent(output: Output) -> bool:
    """Tell whether what the output wants is what BuildKit writes today."""
    text = output.attributes.get("compatibility-version", "")
    version = parse_int(text) if text else _VERSIONS[-1]
    if version not in _VERSIONS:
        listed = " ".join(map(str, _VERSIONS))
        raise InputError(
            f"unsupported compatibility-version {version} (supported: [{listed}])",
            hint="leave it out for the latest",
        )
    return version == _VERSIONS[-1]


def _check(form: Form, output: Output) -> None:
    if form.types.is_oci:
        return
    if form.choice.kind is Compression.ESTARGZ:
        raise InputError(
            'exporter option "compression=estargz" conflicts with "oci-mediatypes=false"',
            hint=_HINT,
        )
    if is_true(output, "oci-artifact"):
        raise InputError(
            'exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"', hint=_HINT
        )
    if any(map(form.annotations.find, (INDEX, INDEX_DESCRIPTOR, MANIFEST_DESCRIPTOR))):
        raise InputError('cannot export annotations with "oci-mediatypes=false"', hint=_HINT)
