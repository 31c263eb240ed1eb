from polyarch.digest import DiffID, sha256
from polyarch.dockerfile.lowering.imageconfig import inherited, target_platform
from polyarch.oci.config import HistoryEntry, ImageConfig, RunConfig
from polyarch.platforms import linux
from polyarch.record import replace
from tests.support.images.platforms import AMD64, windows


def test_what_another_builder_noted_is_not_handed_on() -> None:
    base = ImageConfig(
        platform=AMD64,
        run=RunConfig(cmd=("sh",), rest={"Hostname": "abc", "StopTimeout": 3}),
        author="me",
        rest={"docker_version": "1.0", "moby.buildkit.cache.v0": "e30="},
    )
    assert inherited(base) == ImageConfig(platform=AMD64, run=RunConfig(cmd=("sh",)), author="me")


def test_layers_and_what_tells_of_them_are_not_handed_on() -> None:
    base = ImageConfig(
        platform=AMD64,
        diff_ids=(DiffID(sha256(b"")),),
        history=(HistoryEntry(created_by="RUN x"),),
        created="2020-01-01T00:00:00Z",
    )
    assert inherited(base) == ImageConfig(platform=AMD64)


def test_the_target_goes_before_the_base() -> None:
    base = windows("arm64", "10")
    assert target_platform(base, AMD64) == AMD64


def test_what_the_target_leaves_open_stays() -> None:
    base = linux("amd64", "v2")
    assert target_platform(base, AMD64) == base


def test_features_stay_whatever_the_target_is() -> None:
    base = windows("amd64", features=("win32k",))
    expected = replace(AMD64, os_features=("win32k",))
    assert target_platform(base, AMD64) == expected


def test_the_platform_of_a_base_is_normalized() -> None:
    base = linux("aarch64", "v8")
    assert target_platform(base, None) == linux("arm64")
