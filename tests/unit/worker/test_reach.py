"""Layers of caches that turned out not to be had, and what is asked for after that."""

from __future__ import annotations

import pytest

from polyarch.digest import DiffID, Digest, sha256
from polyarch.errors import IntegrityError, NotFound, PolyarchError, RegistryError
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.snapshot.stack import LayerRef, snapshot_of_diff
from polyarch.worker.reach import Reach


def layer(name: str, source: str = "here") -> LayerRef:
    diff_id = DiffID(sha256(name.encode()))
    blob = Descriptor(media_type=media.OCI_LAYER, digest=Digest(diff_id), size=1)
    snapshot = snapshot_of_diff(diff_id)
    return LayerRef(snapshot=snapshot, diff_id=diff_id, blob=blob, sources=(source,), created=1.0)


def about(lost: LayerRef, error: PolyarchError) -> PolyarchError:
    assert lost.blob is not None
    error.blob = lost.blob.digest
    return error


@pytest.mark.parametrize("error", [IntegrityError("other bytes"), NotFound("gone")])
def test_a_damaged_layer_is_lost_alone(error: PolyarchError) -> None:
    reach, bad, good = Reach(), layer("bad"), layer("good")
    assert all(reach.has(each, lambda: True) for each in (bad, good))

    assert reach.lose(about(bad, error)) == "here"

    assert [reach.has(each, lambda: True) for each in (bad, good)] == [False, True]
    assert not reach.gone
    assert reach.lose(about(bad, error)) is None


def test_a_place_that_refuses_or_loses_many_is_not_asked_any_more() -> None:
    reach = Reach()
    refused = layer("refused", "registry")
    lost = [layer(name, "damaged") for name in "abc"]
    assert all(reach.has(each, lambda: True) for each in (refused, *lost))

    reach.lose(about(refused, RegistryError("no", status=500)))
    for each in lost:
        assert reach.has(each, lambda: True)
        reach.lose(about(each, IntegrityError("other bytes")))

    assert reach.gone == {"registry", "damaged"}


def test_an_error_about_something_else_is_left_alone() -> None:
    reach = Reach()
    reach.has(layer("there"), lambda: True)

    assert reach.lose(about(layer("of an image"), IntegrityError("other bytes"))) is None
    assert reach.lose(IntegrityError("no blob at all")) is None
