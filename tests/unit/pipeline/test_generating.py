"""Lists of software that an image makes: its step, and what it may leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyarch.attest.options import SbomOptions
from polyarch.digest import sha256
from polyarch.dockerfile.lowering.lower import Lowered
from polyarch.errors import InputError
from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import BindMount, ExecOp, ScratchOp, TmpfsMount
from polyarch.oci.base import BaseImage
from polyarch.oci.config import ImageConfig, RunConfig
from polyarch.pipeline.generating import Generator, read_lists
from polyarch.platforms import Platform, host, normalize
from polyarch.record import replace

ARM = Platform(os="linux", architecture="arm64")
SPDX = "https://spdx.dev/Document"
NAME = "registry.example/lists:1"


class Images:
    """One image, whatever is asked for."""

    def __init__(self, run: RunConfig) -> None:
        self.run = run
        self.asked: list[tuple[str, Platform]] = []

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        self.asked.append((reference, platform))
        config = replace(ImageConfig(platform=platform), run=self.run)
        return BaseImage(reference=reference, digest=sha256(b"image"), config=config)


def generator(images: Images, **parameters: str) -> Generator:
    options = SbomOptions(generator=NAME, parameters=parameters)
    return Generator(options=options, images=images, maker=GraphMaker())


def test_a_step_of_this_machine_sees_the_result_and_what_is_beside_it() -> None:
    images = Images(RunConfig(entrypoint=("/list",), cmd=("all",), env=("A=b",), user="nobody"))
    maker = GraphMaker()
    result, stage = maker.add(ScratchOp(), name="r"), maker.add(ScratchOp(), name="s")
    lowered = Lowered(
        platform=ARM,
        vertex=result,
        config=ImageConfig(platform=ARM),
        scanned={"one": stage},
    )

    (made,) = generator(images, type="sbom", Select="x").added([lowered])

    assert images.asked == [(NAME, normalize(host()))]
    assert made.lister is not None
    assert made.lister.name == f"[linux/arm64] generating sbom using {NAME}"
    op = made.lister.op
    assert isinstance(op, ExecOp)
    assert op.argv == ("/list", "all")
    assert (op.cwd, op.user, op.platform) == ("/", "", normalize(host()))
    assert op.env[1:] == (
        "A=b",
        "BUILDKIT_SCAN_DESTINATION=/run/out/",
        "BUILDKIT_SCAN_SOURCE=/run/src/core/sbom",
        "BUILDKIT_SCAN_SOURCE_EXTRAS=/run/src/extras",
        "BUILDKIT_SCAN_Select=x",
        "BUILDKIT_SCAN_type=sbom",
    )
    assert op.mounts == (
        BindMount(target="/run/src/core/sbom", input=1),
        BindMount(target="/run/src/extras/sbom-one", input=2),
        TmpfsMount(target="/tmp"),
    )
    assert made.lister.inputs[1:] == (result, stage)


def test_an_image_that_starts_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=f"scanner {NAME} does not have cmd"):
        generator(Images(RunConfig())).added([])


def test_statements_are_read_that_of_the_result_first(tmp_path: Path) -> None:
    out = tmp_path / "run/out"
    out.mkdir(parents=True)
    for name in ("a.spdx.json", "sbom.spdx.json"):
        predicate = {"name": name, "creationInfo": {"creators": ["Tool: theirs"], "created": "t"}}
        statement = {"predicateType": SPDX, "predicate": predicate}
        (out / name).write_text(json.dumps(statement))

    found = read_lists(tmp_path, NAME)

    assert [each.filename for each in found] == ["sbom.spdx.json", "a.spdx.json"]
    assert found[0].type == SPDX
    info = found[0].content["creationInfo"]
    assert isinstance(info, dict)
    assert info["created"] == "t"
    assert [each.partition("-")[0] for each in info["creators"]] == [
        "Tool: theirs",
        "Tool: polyarch",
    ]
    assert read_lists(tmp_path / "elsewhere", NAME) == ()


def test_what_is_none_is_refused_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(json.dumps({"predicateType": SPDX, "predicate": {}}))
    root = tmp_path / "root"
    for content in ("no json", "[]", '{"predicateType": "other", "predicate": {}}', "{}", None):
        out = root / "run/out"
        out.mkdir(parents=True, exist_ok=True)
        place = out / "sbom.spdx.json"
        place.unlink(missing_ok=True)
        if content is None:
            place.symlink_to(outside)
        else:
            place.write_text(content)
        with pytest.raises(InputError, match=r"wrote /run/out/sbom\.spdx\.json, which is no"):
            read_lists(root, NAME)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/run").symlink_to(root / "run")
    assert read_lists(tmp_path / "linked", NAME) == ()
